"""The networks of both players, and what is done to features."""
