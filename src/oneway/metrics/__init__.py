"""Scores per picture first, then estimates over people."""
