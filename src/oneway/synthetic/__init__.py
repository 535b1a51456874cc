"""Faces that are drawn, for tests, the demonstration and pictures that may be shown."""
