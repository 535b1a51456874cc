"""Files and folders: whole, locked, read with care; what a run folder holds."""
