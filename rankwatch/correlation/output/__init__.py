"""What was found as sentences, tables, files and a figure."""
