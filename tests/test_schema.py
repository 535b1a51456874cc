"""docs/results.schema.json is made of the types, and describes what is written."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from audited import Results, audited, refused
from oneway.report.schema import KINDS, results_schema

SCHEMA = Path(__file__).parent.parent / "docs" / "results.schema.json"


def test_the_schema_in_the_docs_is_that_of_the_types() -> None:
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == results_schema(), (
        "make it anew: python -m oneway.report.schema > docs/results.schema.json"
    )


def test_every_field_is_described() -> None:
    found = results_schema()["$defs"]
    assert {kind.__name__ for kind in KINDS} <= set(found)
    for name, described in found.items():
        assert described["description"], name


@pytest.mark.parametrize("results", [audited(), refused()])
def test_reports_keep_to_the_schema_and_damaged_ones_do_not(results: Results) -> None:
    validator = jsonschema.Draft202012Validator(results_schema())
    validator.validate(results)
    for damage in ({"schema": 3}, {"leakage": []}, {"unconverged": None}, {"more": 1}):
        assert not validator.is_valid(results | damage), damage
