"""Attackers, each trained from scratch on a frozen encoder, and the floors they must beat."""
