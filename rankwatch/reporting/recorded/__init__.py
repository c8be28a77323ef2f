"""A run as its records tell it, read in bounded memory, whether the file is damaged or still grows."""
