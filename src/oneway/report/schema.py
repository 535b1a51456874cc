"""`python -m oneway.report.schema` prints docs/results.schema.json: the JSON of every results.json, from its types."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from docstring_parser import parse

from oneway.config import JsonSchema, schema
from oneway.metrics.estimate import Estimate
from oneway.report import asked, judging, profile, reports, sweeps, values
from oneway.report.settings import meaning

ABOUT = "https://json-schema.org/draft/2020-12/schema"
KINDS = (reports.AuditReport, reports.RunReport, sweeps.BenchmarkReport, sweeps.ExperimentReport)


def results_schema() -> JsonSchema:
    """Describe results.json, of whichever kind, with what docstrings say of each field."""
    every = (values, judging, profile, asked, reports, sweeps)
    return schema_of(KINDS[0] | KINDS[1] | KINDS[2] | KINDS[3], "results.json of oneway", every)


def schema_of(kind: Any, title: str, modules: Iterable[ModuleType]) -> JsonSchema:
    """Describe the JSON of a record, with what the docstrings of the dataclasses of some modules say of each field."""
    found = schema(kind)
    records = {Estimate.__name__: Estimate} | {
        name: each for room in modules for name, each in vars(room).items() if dataclasses.is_dataclass(each)
    }
    for name, described in {**found["$defs"], getattr(kind, "__name__", ""): found}.items():
        if name in records:
            _describe(described, records[name])
    return {"$schema": ABOUT, "title": title} | {name: said for name, said in found.items() if name != "title"}


def _describe(described: JsonSchema, kind: Any) -> None:
    """Put what a class and its bases say of themselves and of their fields into its schema."""
    described["description"] = parse(kind.__doc__ or "").short_description
    for field, about in described["properties"].items():
        if said := meaning(kind, field):
            about["description"] = said


if __name__ == "__main__":
    print(json.dumps(results_schema(), indent=1))
