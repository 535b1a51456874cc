"""The networks of both players, and the face verifiers that judge reconstructions."""
