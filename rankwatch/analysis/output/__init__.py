"""The results for people and programs: tables, files, figures and one page."""
