"""The contract of a bundle: its schema, its bytes and answers, and files that are none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import oneway
from oneway.config import to_dict
from oneway.shipping.contract import (
    CONTRACT,
    Column,
    Contract,
    Noise,
    Picture,
    Quantisation,
    Training,
    bundle_hash,
    read_contract,
)
from oneway.shipping.schema import contract_schema

SCHEMA = Path(__file__).parent.parent / "docs" / "contract.schema.json"
COLUMNS = (
    Column(name="smiling", kind="binary", first=0, threshold=0.5),
    Column(name="hair", kind="classes", first=1, classes=("black", "blond", "grey")),
    Column(name="age", kind="number", first=4),
)


def contract(numbers: int = 5, bits: int = 8) -> Contract:
    return Contract(
        oneway="0.1.0",
        training=Training(pack="faces", hash="0" * 64, pictures=40, people=20),
        picture=Picture(size=32, crop="the largest square in the middle"),
        numbers=numbers,
        noise=Noise(deviation=0.5),
        quantisation=Quantisation(bits=bits, clip=3.5),
        columns=COLUMNS,
        files={"device.onnx": "0" * 64},
    )


def test_the_schema_in_the_docs_is_that_of_the_types() -> None:
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == contract_schema(), (
        "make it anew: python -m oneway.shipping.schema > docs/contract.schema.json"
    )


def test_a_contract_keeps_to_the_schema_and_comes_back(tmp_path: Path) -> None:
    validator = jsonschema.Draft202012Validator(contract_schema())
    content = to_dict(contract())
    validator.validate(content)
    for damage in ({"format": 2}, {"quantisation": {"bits": 3, "clip": 1}}, {"columns": []}, {"more": 1}):
        assert not validator.is_valid(content | damage), damage
    (tmp_path / CONTRACT).write_text(json.dumps(content))
    assert read_contract(tmp_path) == contract()
    first = bundle_hash(tmp_path)
    (tmp_path / CONTRACT).write_text(json.dumps(content | {"numbers": 6}))
    assert bundle_hash(tmp_path) != first


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("numbers", [1, 2, 5, 8, 33])
def test_bytes_are_the_levels_one_by_one(bits: int, numbers: int) -> None:
    agreed, rows = contract(numbers, bits), 7
    drawn = np.random.default_rng(0).normal(size=(rows, numbers)) * 2
    levels = agreed.quantisation.levels(drawn)
    top = 2 ** (bits - 1) - 1
    sent = agreed.quantisation.pack(levels).tobytes()
    expected = bytearray()
    for row in drawn:  # one number after the other, by Python's own integers
        whole = [max(-top, min(top, round(float(np.float32(x) / np.float32(3.5 / top))))) for x in row]
        if bits == 8:
            expected += b"".join(each.to_bytes(1, "little", signed=True) for each in whole)
        else:
            pairs = [*whole, 0][: 2 * -(-numbers // 2)]
            expected += bytes((low % 16) + 16 * (high % 16) for low, high in zip(pairs[::2], pairs[1::2], strict=True))
    assert sent == bytes(expected)
    assert len(sent) == rows * agreed.num_bytes
    np.testing.assert_array_equal(agreed.read(sent), levels)
    step, kept = agreed.quantisation.step, np.clip(drawn, -3.5, 3.5)
    assert np.abs(agreed.quantisation.values(levels) - kept).max() <= step / 2 + 1e-6


@pytest.mark.parametrize(
    ("bits", "message", "said"),
    [
        (8, b"", "these are 0 bytes"),
        (8, b"\0" * 4, "a message is 5 bytes, 5 numbers of 8 bits each.* these are 4 bytes"),
        (8, b"\0" * 20 + b"\0", "these are 21 bytes"),
        (8, b"\0\0\x80\0\0", r"levels out of -127\.\.127"),
        (4, b"\x08\0\0", r"levels out of -7\.\.7"),
        (4, b"\0\0\x10", "bits that say nothing"),
    ],
)
def test_what_is_no_message_is_refused(bits: int, message: bytes, said: str) -> None:
    with pytest.raises(oneway.InputError, match=said):
        contract(5, bits).read(message)


def test_answers_are_words_probabilities_and_numbers() -> None:
    values = np.array([[0.75, 0.5, 0.25, 0.25, 31.5]], dtype=np.float32)
    assert contract().answers(values, np.array([[1, 2, 31.5]], dtype=np.float32)) == [
        {
            "smiling": {"decision": True, "probability": 0.75},
            "hair": {"decision": "grey", "probabilities": {"black": 0.5, "blond": 0.25, "grey": 0.25}},
            "age": {"decision": 31.5},
        }
    ]


def test_columns_that_do_not_fit_are_refused() -> None:
    for columns in (COLUMNS[1:], (COLUMNS[0], COLUMNS[0]), (replace(COLUMNS[0], first=1),)):
        with pytest.raises(oneway.InputError, match="stand one after the other"):
            replace(contract(), columns=columns)
    for odd in ({"kind": "classes"}, {"kind": "binary"}, {"kind": "number", "threshold": 0.5}):
        with pytest.raises(oneway.InputError, match="kind of a is"):
            Column(name="a", first=0, **odd)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "is no bundle: .*does not exist; give the --out of `oneway export`"),
        ("{", "cannot be read as JSON"),
        ("[]", "holds list, not an object"),
        ('{"format": 2, "oneway": "9.0"}', "is of format 2, of oneway 9.0, and this version reads 1; install"),
        ('{"format": 1}', r"contract\.json: .*missing"),
        ('{"format": 1, "oneway": "1", "numbers": 1e400}', r"contract\.json"),
    ],
)
def test_what_is_no_contract_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / CONTRACT).write_text(text)
    with pytest.raises(oneway.InputError, match=said):
        read_contract(tmp_path)


@pytest.mark.parametrize("name", ["../device.onnx", "/etc/passwd", "a/b", ".hidden", ""])
def test_files_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    content = to_dict(contract()) | {"files": {name: "0" * 64}}
    (tmp_path / CONTRACT).write_text(json.dumps(content))
    with pytest.raises(oneway.InputError, match=r"contract\.json: files"):
        read_contract(tmp_path)
