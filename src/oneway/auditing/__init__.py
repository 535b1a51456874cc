"""Audits: every attack on one victim, beside floors and control, and what follows from it."""
