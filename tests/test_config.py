"""Configurations and records: each error names the field, its value and the way out."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace

import pytest

from oneway.config import Count, Names, NotNegative, checked, from_dict, from_json, to_dict
from oneway.errors import InputError


@checked
@dataclass(frozen=True, kw_only=True)
class Inner:
    weight: NotNegative = 0.1
    names: Names = ()

    def __post_init__(self) -> None:
        if self.weight == 7:
            raise InputError("weight must not be 7")


@checked
@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    steps: Count = 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": "5.5"}, "steps must be a valid integer, .* not '5.5'"),
        ({"steps": 0}, "steps must be greater than or equal to 1, not 0"),
        ({"steps": 2**64}, f"steps must be less than {2**63}, not {2**64}"),
        ({"step": 1}, "there is no field step"),
        ({"inner": 3}, "inner must be .*, not 3"),
    ],
)
def test_what_cannot_be_is_refused_when_made(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Outer(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), 7, "much"])
def test_a_number_out_of_range_is_refused_however_it_is_given(weight: float) -> None:
    for make in (lambda: Inner(weight=weight), lambda: replace(Inner(), weight=weight)):
        with pytest.raises(InputError, match="weight must "):
            make()


def test_a_configuration_is_what_it_was_after_json_and_pickle() -> None:
    config = Outer(inner=Inner(weight=0.3, names=("a", "b")), steps=5)
    assert to_dict(config) == {"inner": {"weight": 0.3, "names": ["a", "b"]}, "steps": 5}
    assert from_dict(Outer, to_dict(config)) == config
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "it is no JSON"),
        (b"\xff\xfe", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON .*recursion"),
        (b"[]", r"it must be an object, not \[\]"),
        (b'{"steps": "5"}', "steps must be a valid integer, not '5'"),
        (b'{"steps": true}', "steps must be a valid integer, not True"),
        (b'{"inner": {"weight": NaN}}', "inner.weight must be a finite number, not nan"),
        (b'{"inner": {"weight": 1e999}}', "inner.weight must be a finite number, not inf"),
        (b'{"inner": {"other": 1}}', "there is no field inner.other"),
        (b'{"inner": {"weight": 7}}', "weight must not be 7"),
    ],
)
def test_a_damaged_file_is_named_with_the_field_its_value_and_the_way_out(text: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"^config.json: {message}.*; make it again$"):
        from_json(Outer, text, "config.json", "make it again")
