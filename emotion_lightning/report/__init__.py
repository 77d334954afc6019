"""The report of a run: read what it left behind, draw it, and put it on one page."""
