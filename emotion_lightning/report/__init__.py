"""The report of a run: read its folder, draw charts, and write one page."""
