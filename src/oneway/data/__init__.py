"""Datasets: read in their own layouts, divided by person, packed once, opened in no time."""
