"""The game that trains an encoder, its loop, and the run it leaves."""
