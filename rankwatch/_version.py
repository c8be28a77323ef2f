"""The version, which files of a run bear and which nothing else has to be imported for."""

__version__ = "0.1.0"
