"""A comparison for people and programs: table, files, figure and one page."""
