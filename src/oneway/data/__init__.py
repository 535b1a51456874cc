"""Datasets: read in their own layouts, divided by person, packed once, opened in no time."""

from oneway.data.packed import Pack, Part, Private, Public, Test, Validation
from oneway.data.picture import CorruptImage
from oneway.data.prepare import prepare
from oneway.data.source import Source, synthetic_source

__all__ = [
    "CorruptImage",
    "Pack",
    "Part",
    "Private",
    "Public",
    "Source",
    "Test",
    "Validation",
    "prepare",
    "synthetic_source",
]
