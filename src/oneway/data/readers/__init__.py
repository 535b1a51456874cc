"""Layouts of datasets on the disk, one file each, and what several of them read."""
