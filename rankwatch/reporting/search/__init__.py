"""Records of runs that are somewhere below a folder, and what to call them."""
