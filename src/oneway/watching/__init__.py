"""Whether what is received is still what was audited: statistics of it, held to those of the bundle."""
