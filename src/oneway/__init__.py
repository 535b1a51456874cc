"""Encoders whose features keep a task and cannot be turned back into the image, and honest measurement of both."""
