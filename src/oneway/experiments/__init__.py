"""Sweeps over configurations: one engine, and the questions that are asked with it."""
