"""What goes into the evaluation of a reading, and what comes out of it, on one process."""

from __future__ import annotations
