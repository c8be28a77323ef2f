"""From times of phones and words to the frames of a layer."""
