"""Plain metrics of a matrix or a spectrum at hand, without correction for the number of rows."""
