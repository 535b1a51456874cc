"""Files that somebody else wrote or damaged: each ends in one line that names the file, the field and the way out."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import resource
import shutil
import signal
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
from onnx import TensorProto
from safetensors.torch import load_file, save_file

import oneway
from conftest import Once
from damaged import CONFIG, SIZE, build_house, question, victim, write_network
from oneway.auditing.control import open_control
from oneway.auditing.steps import Steps
from oneway.cli.sweep import recommend
from oneway.data.batches import load
from oneway.data.dump import read_dump
from oneway.data.duplicates import duplicates
from oneway.data.join import join
from oneway.data.packed import Pack
from oneway.data.source import synthetic_source
from oneway.errors import InputError
from oneway.judges.identification import open_verifier
from oneway.models.encoder import EncoderConfig, backbone
from oneway.models.onnx import OnnxEncoder
from oneway.models.perceptual import open_perceptual
from oneway.protection.run import Run
from oneway.report.reports import AuditReport, RunReport, read_report
from oneway.report.sweeps import BenchmarkReport
from oneway.report.values import SCHEMA

SECONDS = 20
"""After which a test says that it hangs."""
MEMORY = 2**31
"""Bytes that a test may take."""


def hung(signal: int, frame: FrameType | None) -> None:
    raise TimeoutError("it hangs")


@pytest.fixture(autouse=True)
def _never_hangs_nor_takes_all_memory() -> Iterator[None]:
    before, limits = signal.signal(signal.SIGALRM, hung), resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, limits[1]))
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.fixture(scope="module")
def house(once: Once) -> Path:
    return once("house", build_house)


def borrow(house: Path, root: Path, *folders: str) -> Path:
    """Give the house again, its files and these folders alone.

    They are links, which a damage replaces; what is continued is written into, and so is copied.
    """
    root.mkdir()
    for place in house.iterdir():
        if place.is_file():
            lend(str(place), str(root / place.name))
        elif place.name in folders:
            shutil.copytree(place, root / place.name, copy_function=lend)
    return root


def lend(source: str, target: str) -> None:
    (shutil.copyfile if "begun" in source or "unfinished" in source else os.link)(source, target)


# ---- who reads


def use_pack(folder: Path) -> None:
    """Read all that an audit reads of a pack."""
    pack = Pack.open(folder)
    assert pack.people.shape == (len(pack.pixels),)
    assert pack.num_unknown() >= 0
    for part in (pack.private, pack.public, pack.validation, pack.test):
        names, labels = part.names, part.labels()
        assert all(isinstance(name, str) for name in names)
        assert labels.shape == (len(part), len(pack.attributes))
        assert part.images(slice(None)).shape == (len(part), pack.size, pack.size, 3)
        places = part.landmarks(slice(None))
        assert places is None or bool(np.isfinite(places).all())
    assert duplicates(pack, progress=False).said(named=True)
    assert pack.about
    assert pack.drawn in (True, False)


def use_run(root: Path, name: str = "run") -> None:
    run = Run.open(root / name, Pack.open(root / "pack"))
    assert run.report.utility.value.n
    assert run.load() is not None
    Run.open(root / name)
    loaded = oneway.load_encoder(root / name)
    sent = loaded.encode(np.zeros((1, SIZE, SIZE, 3), dtype=np.uint8))
    assert set(loaded.decide(sent)) == set(loaded.attributes)


def use_control(root: Path) -> None:
    pack = Pack.open(root / "pack")
    control = open_control(root / "audit", victim(pack), question(pack))
    assert control.pictures is not None


def use_judge(root: Path, name: str) -> None:
    pack = Pack.open(root / "pack")
    judge = open_verifier(pack, root / name)
    assert judge is not None
    found = judge(load(pack.test, slice(0, 2)), None)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def resume(root: Path) -> None:
    """Continue a training; what is damaged is said before a step of it."""
    oneway.protect(Pack.open(root / "pack"), root / "unfinished", CONFIG, resume=True, progress=False)


def open_step(root: Path) -> None:
    def never(place: object) -> Any:
        raise AssertionError("the step was taken before")

    steps = Steps(root / "steps", None, checkpoint_seconds=0, progress=False)  # type: ignore[arg-type]
    assert steps.take("floors", never).facts.validation == {"mean": 1.0}


def continue_preparation(root: Path) -> None:
    source = synthetic_source(20, 2, 1)
    oneway.prepare(source, root / "begun", size=SIZE, jobs=1, progress=False, resume=True)


READERS: dict[str, Callable[[Path], object]] = {
    "pack": lambda root: use_pack(root / "pack"),
    "linked": lambda root: use_pack(root / "linked"),
    "joined": lambda root: join(Pack.open(root / "pack"), Pack.open(root / "pack"), root / "j"),
    "run": use_run,
    "control": use_control,
    "stored run": lambda root: read_report(root / "store" / "runs" / "r", RunReport, "oneway protect"),
    "stored audit": lambda root: read_report(root / "store" / "audits" / "a", AuditReport, "oneway audit"),
    "benchmark": lambda root: read_report(root / "benchmark", BenchmarkReport, "oneway benchmark"),
    "recommended": lambda root: recommend(root / "benchmark", cut="layer2", leakage=0.5),
    "unfinished": resume,
    "step": open_step,
    "begun": continue_preparation,
    "judge": lambda root: use_judge(root, "judge.onnx"),
    "own judge": lambda root: use_judge(root, "own.safetensors"),
    "encoder": lambda root: OnnxEncoder(root / "judge.onnx", SIZE, pixels="0..1"),
    "dump.npz": lambda root: read_dump(root / "dump.npz", Pack.open(root / "pack")),
    "dump.parquet": lambda root: read_dump(root / "dump.parquet", Pack.open(root / "pack")),
    "dump.safetensors": lambda root: read_dump(root / "dump.safetensors", Pack.open(root / "pack")),
    "weights": lambda root: backbone(EncoderConfig(weights=str(root / "weights.safetensors")), 32),
    "distance": lambda root: open_perceptual(root / "weights.safetensors"),
}


@pytest.mark.parametrize("reader", [name for name in READERS if name not in ("weights", "distance")])
def test_what_is_whole_is_read(house: Path, tmp_path: Path, reader: str) -> None:
    READERS[reader](borrow(house, tmp_path / "house", *(place.name for place in house.iterdir())))


# ---- what can be wrong


@dataclass(frozen=True)
class Case:
    """One damage: who reads, which file of the house is damaged and how, and what the error must say of it."""

    reader: str
    file: str
    damage: Callable[[Path], object]
    words: str = ""
    name: str = ""

    def __str__(self) -> str:
        return f"{self.reader}: {self.file} {self.name}"


def write(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


WHOLE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "a folder": directory,
    "a pipe": fifo,
    "a device": device,
    "a link to nothing": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "empty": write(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "cut at the end": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "text": write(b"hello"),
    "zeros": write(bytes(4096)),
    "not UTF-8": write(b"\xff\xfe{\x80}" * 9),
}
"""What can be wrong with any file."""
FILES = {
    "pack": ("pack/images.npy", "pack/labels.parquet", "pack/pack.json"),
    "linked": ("linked/spans.parquet", "linked/labels.parquet", "linked/pack.json"),
    "run": ("run/config.json", "run/results.json", "run/protector.safetensors"),
    "control": ("audit/results.json", "audit/scores.npz", "audit/shown.npy"),
    "unfinished": ("unfinished/checkpoint.safetensors", "unfinished/config.json"),
    "recommended": ("benchmark/results.json", "benchmark/runs/r/config.json"),
    "step": ("steps/parts/floors.json", "steps/parts/floors.npz"),
    "begun": ("begun.partial/settings.json", "begun.partial/journal.jsonl"),
    "judge": ("judge.onnx", "judge.json"),
    "own judge": ("own.safetensors",),
    "encoder": ("judge.onnx",),
    "dump.npz": ("dump.npz",),
    "dump.parquet": ("dump.parquet",),
    "dump.safetensors": ("dump.safetensors",),
    "weights": ("weights.safetensors",),
    "distance": ("weights.safetensors",),
}
TAKEN = {
    # Left out without harm: there are no pictures, nothing is begun, a training starts at its first step.
    ("control", "audit/shown.npy", "missing"),
    ("control", "audit/shown.npy", "a link to nothing"),
    *(("unfinished", "unfinished/checkpoint.safetensors", name) for name in ("missing", "a link to nothing")),
    *(("step", "steps/parts/floors.json", name) for name in ("missing", "a link to nothing")),
    *(("begun", file, name) for file in FILES["begun"] for name in ("missing", "a link to nothing")),
    # A journal's last line may be half written, and then is not believed.
    *(("begun", FILES["begun"][1], name) for name in ("empty", "truncated", "cut at the end", "text", "zeros")),
    ("begun", FILES["begun"][1], "not UTF-8"),
}
ANY = [
    Case(reader, file, damage, name=name)
    for reader, files in FILES.items()
    for file in files
    for name, damage in WHOLE.items()
    if (reader, file, name) not in TAKEN
]
NOT_OBJECTS = {
    "null": "null",
    "a list": "[]",
    "a number": "3",
    "a text": '"text"',
    "an empty object": "{}",
    "deep lists": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "deep and whole": "[" * 900 + "]" * 900,
    "NaN": "NaN",
    "a huge number": "9" * 5000,
    "two values": "{} {}",
}
JSON = [
    ("pack", "pack/pack.json"),
    ("linked", "linked/pack.json"),
    ("run", "run/config.json"),
    ("run", "run/results.json"),
    ("stored run", "store/runs/r/results.json"),
    ("control", "audit/results.json"),
    ("recommended", "benchmark/results.json"),
    ("recommended", "benchmark/runs/r/config.json"),
    ("unfinished", "unfinished/config.json"),
    ("begun", "begun.partial/settings.json"),
    ("step", "steps/parts/floors.json"),
    ("judge", "judge.json"),
]
OBJECTS = [
    Case(reader, file, write(text.encode()), name=name)
    for reader, file in JSON
    for name, text in NOT_OBJECTS.items()
    if (reader, file, name) not in TAKEN
]

MARK = "the value that is put here"


def put(place: str, value: str | None) -> Callable[[Path], object]:
    """Put JSON text into a place of a JSON file, named like `splits.test.images` or `rows.0.cut`; nothing removes."""

    def damage(path: Path) -> None:
        content = json.loads(path.read_text())
        inside: Any = content
        *way, last = (int(part) if part.isdigit() else part for part in place.split("/" if "/" in place else "."))
        for part in way:
            inside = inside[part]
        if value is None:
            del inside[last]
        else:
            inside[last] = MARK
        path.write_text(json.dumps(content).replace(f'"{MARK}"', value or ""))

    return damage


IN_OTHER_WORDS = ("path", "attributes", "source", "hash", "format", "cut", "width")
"""Fields of which an error may say what is wrong without their name: the pack is not there, the weights do not fit."""


def fields(reader: str, file: str, places: dict[str, str]) -> list[Case]:
    """Cases of a file's fields; each is named by the error."""
    found = []
    for place, values in places.items():
        last = [part for part in re.split(r"[./]", place) if not part.isdigit()][-1]
        for value in values.split():
            words = "" if last in IN_OTHER_WORDS or value == "DEEP" else last
            given = None if value == "-" else value.replace("DEEP", "[" * 500 + "]" * 500).replace("HUGE", "9" * 400)
            found.append(Case(reader, file, put(place, given), words, f"{place}={value}"))
    return found


WRONG_COUNT = '- null "3" [] {} -1 1.5 NaN 1e400 HUGE DEEP'
PACK = fields(
    "pack",
    "pack/pack.json",
    {
        "format": '- null "1" [] 2 true 1.5',
        "layout": "- null 3 [] {}",
        "size": f"{WRONG_COUNT} 0 true",
        "count": f"{WRONG_COUNT} true 41",
        "splits": '- null 3 [] {} "private"',
        "splits.test": '- null 3 [] {} "8"',
        "splits.test.images": f"{WRONG_COUNT} true",
        "attributes": '- null 3 {} "Smiling" [1] [null] [[]]',
        "landmarks": '3 "middle" {} [] [1] [[1,2]] [["a","b"]] [[NaN,0.5],[0,0],[0,0],[0,0],[0,0]] [[1,2,3]] true',
        "hash": "- null 3 [] {} true",
        "joined": '3 "ab" {} [1] [null] ["a"] ["a","b","c"]',
        "linked": '3 [] {} "x"',
        "duplicates": '3 [] {} "x" {"pictures":3,"examples":[]} {"pictures":{},"examples":[1]} {"pictures":{}}',
    },
)
LINKED = fields(
    "linked",
    "linked/pack.json",
    {
        "linked": '- null 3 [] {} "x"',
        "linked.frame": '- 3 [] [1] ["a","b"] {} [0,-1] [1,2,3] [1.5,2] DEEP',
        "linked.box": '- 3 [] [1] ["a","b","c","d"] {} [NaN,0,1,1] [0,0,1e400,1] [1,2,3,4,5] [5,5,1,1]',
        "linked.root": "- null 3 [] {}",
        "size": f"{WRONG_COUNT} 0 100000 100000000",
        "format": "- 9",
    },
)
AUDIT = fields(
    "control",
    "audit/results.json",
    {
        "schema": f'- null "4" 3 {SCHEMA + 1} 4.5 [] HUGE true',
        "kind": '- null 3 "benchmark" "run"',
        "victim": "- null 3 [] {}",
        "victim.name": "- null 3",
        "victim.features": '- null "3" [1.5] {} 3',
        "victim.kind": '- "thing"',
        "victim.noisy": '- null 1 "true"',
        "utility": "3 [] {} -",
        "verdict": '- null 3 "low"',
        "verdict.level": '- null 3 "high"',
        "leakage": "- null [] 3",
        "leakage.picture_similarity": 'null 3 [] {} "x"',
        "leakage.picture_similarity.value": '"0.1" NaN Infinity 1e400 null',
        "attacks": "- null [] 3",
        "attacks.inversion": "null 3 []",
        "attacks.inversion.ways": "null 3 []",
        "queries": "- null 3 []",
        "floors": "- null 3 []",
        "guards": "- null 3 {} [1]",
        "unconverged": '- null 3 {} "linear" [1]',
        "seconds": '- null 3 [] {"a":"1"} {"a":NaN}',
        "provenance": "- null 3 [] {}",
        "provenance.data": '- null 3 "faces"',
        "provenance.judges": "- null 3 {} [1]",
        "provenance.images": '- 1 "no"',
        "more": "3 null",
    },
)
RUN = fields(
    "run",
    "run/results.json",
    {
        "schema": f'- null "4" 0 -1 {SCHEMA + 1} 4.5 [] HUGE',
        "kind": '- null 3 "audit"',
        "utility": "- null 3 [] {}",
        "utility.value": "- null 3 []",
        "utility.value.value": '- "0.5" NaN 1e400 null DEEP',
        "utility.each": "- null 3 []",
        "validation": "- null 3",
        "validation.utility": '- "1" NaN null',
        "probes": '3 [] "x"',
        "provenance": "- null 3 []",
    },
) + fields(
    "run",
    "run/config.json",
    {
        "size": '"16" 0 -1 17 32 HUGE',
        "attributes": '3 ["Smiling"] [1] {}',
        "data.hash": '- null 3 "0"',
        "data.path": '3 "nowhere" [] "../run" "../pack/pack.json" "a\\u0000b"',
        "protect": "null 3 []",
        "protect.network.cut": '"layer9" 3 null "fc" ""',
        "protect.network.width": "1e9 1e300 0.5",
        "protect.network.feature_width": "1000000000000000 0",
        "protect.network.bottleneck": "1000000000000000 -1",
        "network": '3 [] "Mine"',
    },
)
BENCHMARK = fields(
    "recommended",
    "benchmark/results.json",
    {
        "schema": '- "4" 3 99',
        "kind": '- "audit"',
        "rows": "- null 3 {} [1]",
        "rows.0.cut": "- null 3",
        "rows.1.strength": '- null "1" NaN 1e400',
        "rows.1.leakage": "- null 3 []",
        "rows.1.validation": "- null 3",
        "rows.1.validation.utility": '- "1" NaN null',
        "rows.1.validation.leakage": '- null 3 {"picture_similarity":"0.1"} {"picture_similarity":NaN}',
        "rows.1.verdict": '- 3 "high"',
        "rows.1.run": "- null 3 []",
        "decisions": "- null 3 []",
    },
) + fields(
    "recommended",
    "benchmark/runs/r/config.json",
    {
        "protect": "- null 3 []",
        "protect.steps": '"3" 0 NaN',
        "data": "- null 3 []",
        "data.path": "- 3 [] {}",
        "data.hash": "- null",
    },
)
JUDGE = fields(
    "judge",
    "judge.json",
    {
        "pixels": '- null 3 "0..256" []',
        "colours": '3 null "GBR"',
        "mean": '"0" null [] [1,2] NaN [NaN,0,0] {} 1e400',
        "deviation": '"1" null [] [1,2] 0 -1 NaN [1,0,1]',
        "template": "3 null [] [[1,2]] [[NaN,0],[0,0],[0,0],[0,1],[0,0]] {}",
        "crop": '3 "x" [] [0,0] [0,0,0] [0,0,-1] [NaN,0,1] {}',
        "side": '0 -1 1.5 "16" HUGE 17 true',
        "centred": '1 "yes" null',
        "output": '3 [] "other"',
        "preset": '3 "mobilefacenett" [] {}',
        "more": "3",
    },
)
CONFIGURED = fields(
    "unfinished",
    "unfinished/config.json",
    {"protect": "- null 3", "protect.steps": '3 "2" null', "data.hash": '- null "0"', "size": "17 null"},
) + fields(
    "begun",
    "begun.partial/settings.json",
    {"size": '- null 17 "16"', "seed": "- null 1", "source": '- null "0"', "public": "- 0.4"},
)


def arrays(**changes: Any) -> Callable[[Path], object]:
    """Change arrays of an .npz file; None leaves one out."""

    def damage(path: Path) -> None:
        with np.load(path) as stored:
            content = dict(stored)
        for key, change in changes.items():
            key = "inversion mse" if key == "scores" and "inversion mse" in content else key
            if change is None:
                del content[key]
            else:
                content[key] = change(content.get(key))
        np.savez(path, **content)

    return damage


def array(change: Callable[[Any], Any]) -> Callable[[Path], object]:
    return lambda path: np.save(path, change(np.load(path)))


def header(descr: str, shape: tuple[int, ...]) -> Callable[[Path], object]:
    """An array whose header promises what is not there."""

    def damage(path: Path) -> None:
        file = io.BytesIO()
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        path.write_bytes(file.getvalue() + bytes(64))

    return damage


def pickled(path: Path) -> None:
    """An array of objects, which would run what is in it."""
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def only_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": np.zeros(3)}))


def objects(stored: Any) -> Any:
    return np.array([{"a": 1}] * 8, dtype=object)


ARRAYS = [
    *(
        Case("pack", "pack/images.npy", damage, words, name)
        for name, damage, words in [
            ("terabytes", header("|u1", (40, 2**20, 2**20, 3)), ""),
            ("terabytes of its shape", header("|u1", (2**40, 16, 16, 3)), ""),
            ("overflow", header("|u1", (2**62, 2**62)), ""),
            ("negative", header("|u1", (-1, 16, 16, 3)), ""),
            ("objects", pickled, ""),
            ("a pickle", only_pickle, ""),
            ("another type", array(lambda a: a.astype(np.float32)), "uint8"),
            ("signed", array(lambda a: a.astype(np.int8)), "uint8"),
            ("records", array(lambda a: np.zeros(40, dtype=[("a", "u1", (16, 16, 3))])), "uint8"),
            ("another count", array(lambda a: a[:-1]), "shape"),
            ("another size", array(lambda a: a[:, :8, :8]), "shape"),
            ("grey", array(lambda a: a[..., 0]), "shape"),
            ("channels first", array(lambda a: a.transpose(0, 3, 1, 2)), "shape"),
            ("a scalar", array(lambda a: np.uint8(3)), "shape"),
            ("an archive", lambda path: np.savez(path.open("wb"), a=np.zeros(3)), ""),
        ]
    ),
    *(
        Case("control", "audit/scores.npz", damage, words, name)
        for name, damage, words in [
            ("no people", arrays(people=None), "people"),
            ("other people", arrays(people=lambda a: a[::-1] + 1), ""),
            ("fewer people", arrays(people=lambda a: a[:-1]), ""),
            ("people as text", arrays(people=lambda a: a.astype(str)), ""),
            ("people of objects", arrays(people=objects), "people"),
            ("scores of objects", arrays(scores=objects), "inversion mse"),
            ("fewer scores", arrays(scores=lambda a: a[:-1]), "inversion mse"),
            ("more scores", arrays(scores=lambda a: np.append(a, 1.0)), "inversion mse"),
            ("a matrix", arrays(scores=lambda a: a[:, None]), "inversion mse"),
            ("text", arrays(scores=lambda a: a.astype(str)), "inversion mse"),
            ("complex", arrays(scores=lambda a: a * 1j), "inversion mse"),
            ("dates", arrays(scores=lambda a: a.astype("M8[s]")), "inversion mse"),
            ("records", arrays(scores=lambda a: np.zeros(len(a), dtype=[("a", "f8")])), "inversion mse"),
            ("NaN", arrays(scores=lambda a: a * np.nan), "inversion mse"),
            ("one infinity", arrays(scores=lambda a: np.where(np.arange(len(a)) == 3, np.inf, a)), "inversion mse"),
            ("a pickle", only_pickle, ""),
        ]
    ),
    *(
        Case("control", "audit/shown.npy", damage, "", name)
        for name, damage in [
            ("terabytes", header("|u1", (4, 2**20, 2**20, 3))),
            ("objects", pickled),
            ("a pickle", only_pickle),
            ("floats", array(lambda a: a / 255)),
            ("NaN", array(lambda a: a * np.nan)),
            ("text", array(lambda a: a.astype(str))),
            ("grey", array(lambda a: a[..., 0])),
            ("another size", array(lambda a: a[:, :8, :8])),
            ("none", array(lambda a: a[:0])),
            ("one picture", array(lambda a: a[0])),
            ("more than people", array(lambda a: np.concatenate([a] * 9))),
        ]
    ),
    *(
        Case("step", "steps/parts/floors.npz", damage, "", name)
        for name, damage in [("objects", arrays(scores=None, a=objects)), ("a pickle", only_pickle)]
    ),
    *(
        Case("dump.npz", "dump.npz", damage, words, name)
        for name, damage, words in [
            ("no names", arrays(names=None), "names"),
            ("no features", arrays(features=None), "features"),
            ("names of objects", arrays(names=lambda a: a.astype(object)), "names"),
            ("features of objects", arrays(features=lambda a: a.astype(object)), "features"),
            ("text", arrays(features=lambda a: a.astype(str)), "features"),
            ("complex", arrays(features=lambda a: a * 1j), "features"),
            ("dates", arrays(features=lambda a: a.astype("M8[s]")), "features"),
            ("booleans", arrays(features=lambda a: a > 0), "features"),
            ("a vector", arrays(features=lambda a: a[:, 0]), "features"),
            ("no numbers", arrays(features=lambda a: a[:, :0]), "features"),
            ("NaN", arrays(features=lambda a: a * np.nan), "features"),
            (
                "one infinity",
                arrays(features=lambda a: np.where(np.arange(len(a))[:, None] == 20, np.inf, a)),
                "features",
            ),
            ("fewer", arrays(features=lambda a: a[:-1]), "features"),
            ("names of numbers", arrays(names=lambda a: np.arange(len(a))), "name"),
            ("names twice", arrays(names=lambda a: np.where(a == a[1], a[0], a)), "twice"),
            ("other names", arrays(names=lambda a: np.char.add(a, "x")), "pictures"),
            ("a scalar", arrays(features=lambda a: np.float32(3)), "features"),
        ]
    ),
]


def table(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], object]:
    return lambda path: parquet.write_table(change(parquet.read_table(path, partitioning=None)), path)


def column(name: str, change: Callable[[list[Any]], Any], kind: pa.DataType | None = None) -> Callable[[Path], object]:
    """Change a column of a Parquet file."""

    def changed(found: pa.Table) -> pa.Table:
        values = pa.array(change(found.column(name).to_pylist()), kind)
        return found.set_column(found.column_names.index(name), name, values)

    return table(changed)


TABLES = [
    *(
        Case("pack", "pack/labels.parquet", damage, words, name)
        for name, damage, words in [
            ("a row less", table(lambda t: t.slice(1)), "rows"),
            ("no rows", table(lambda t: t.slice(0, 0)), "rows"),
            ("no name", table(lambda t: t.drop_columns(["name"])), ""),
            ("no Smiling", table(lambda t: t.drop_columns(["Smiling"])), ""),
            ("another order", table(lambda t: t.select(t.column_names[::-1])), ""),
            ("one more", table(lambda t: t.append_column("x", t.column("Smiling"))), ""),
            ("rows turned", table(lambda t: t.take(list(range(len(t)))[::-1])), "split"),
            ("name as number", column("name", lambda v: list(range(len(v)))), "name"),
            ("name null", column("name", lambda v: [None, *v[1:]]), "name"),
            ("name twice", column("name", lambda v: [v[1], *v[1:]]), "name"),
            ("identity as number", column("identity", lambda v: list(range(len(v)))), "identity"),
            ("identity null", column("identity", lambda v: [None, *v[1:]]), "identity"),
            ("split as number", column("split", lambda v: [0] * len(v)), "split"),
            ("split null", column("split", lambda v: [None, *v[1:]]), "split"),
            ("split unknown", column("split", lambda v: ["train", *v[1:]]), "split"),
            ("label as number", column("Smiling", lambda v: [int(x) for x in v]), "Smiling"),
            ("label as text", column("Smiling", lambda v: [str(x) for x in v]), "Smiling"),
            ("label null", column("Smiling", lambda v: [None, *v[1:]]), "Smiling"),
            ("label as list", column("Smiling", lambda v: [[x] for x in v]), "Smiling"),
            (
                "columns twice",
                table(lambda t: t.rename_columns(["name" if n == "Bald" else n for n in t.column_names])),
                "",
            ),
        ]
    ),
    *(
        Case("linked", "linked/spans.parquet", damage, words, name)
        for name, damage, words in [
            ("a row less", table(lambda t: t.slice(1)), ""),
            ("no file", table(lambda t: t.drop_columns(["file"])), "file"),
            ("file as number", column("file", lambda v: list(range(len(v)))), ""),
            ("file null", column("file", lambda v: [None] * len(v), pa.string()), ""),
            ("offset as text", column("offset", lambda v: [str(x) for x in v]), ""),
            ("offset null", column("offset", lambda v: [None] * len(v), pa.int64()), ""),
            ("size as float", column("size", lambda v: [float(x) for x in v]), ""),
        ]
    ),
    *(
        Case("dump.parquet", "dump.parquet", damage, words, name)
        for name, damage, words in [
            ("no name", table(lambda t: t.drop_columns(["name"])), "name"),
            ("no features", table(lambda t: t.drop_columns(["features"])), "features"),
            ("name as number", column("name", lambda v: list(range(len(v)))), "name"),
            ("name null", column("name", lambda v: [None, *v[1:]]), "name"),
            ("features as text", column("features", lambda v: ["x"] * len(v)), "features"),
            ("features null", column("features", lambda v: [None] * len(v), pa.list_(pa.float32())), "features"),
            ("lists of text", column("features", lambda v: [["x"]] * len(v)), "features"),
            ("structs", column("features", lambda v: [{"a": 1.0}] * len(v)), "features"),
            ("no rows", table(lambda t: t.slice(0, 0)), "pictures"),
            ("NaN", column("features", lambda v: [[float("nan")] * 4] * len(v), pa.list_(pa.float32())), "features"),
        ]
    ),
]


def tensors(change: Callable[[dict[str, Any]], dict[str, Any]], about: Any = ...) -> Callable[[Path], object]:
    """Change the tensors of a safetensors file, and what it says of itself."""

    def damage(path: Path) -> None:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            kept = json.loads(file.read(length)).get("__metadata__")
        said = kept if about is ... else about(kept) if callable(about) else about
        save_file({k: v.contiguous() for k, v in change(load_file(path)).items()}, path, metadata=said)

    return damage


def about(text: str) -> Callable[[Path], object]:
    return tensors(lambda t: t, {"about": text})


def told(place: str, value: str | None) -> Callable[[Path], object]:
    """Put JSON text into a place of what a safetensors file says of itself."""

    def change(kept: dict[str, str]) -> dict[str, str]:
        content = json.loads(kept["about"])
        inside, (*way, last) = content, place.split(".")
        for part in way:
            inside = inside[part]
        if value is None:
            del inside[last]
        else:
            inside[last] = MARK
        return {"about": json.dumps(content).replace(f'"{MARK}"', value or "")}

    return tensors(lambda t: t, change)


def one(key: str, change: Callable[[Any], Any] | None) -> Callable[[Path], object]:
    """Change the first tensor whose name holds `key`, or leave it out."""

    def changed(found: dict[str, Any]) -> dict[str, Any]:
        name = next(name for name in found if key in name)
        return {n: t for n, t in found.items() if n != name} | ({} if change is None else {name: change(found[name])})

    return tensors(changed)


def promise(path: Path) -> None:
    """A header that promises terabytes."""
    said = json.dumps({"features": {"dtype": "F32", "shape": [2**40, 4], "data_offsets": [0, 2**44]}}).encode()
    path.write_bytes(struct.pack("<Q", len(said)) + said + bytes(64))


def endless(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")


TENSORS = [
    *(
        Case(reader, file, damage, "", name)
        for reader, file in [
            ("run", "run/protector.safetensors"),
            ("unfinished", "unfinished/checkpoint.safetensors"),
            ("own judge", "own.safetensors"),
            ("dump.safetensors", "dump.safetensors"),
            ("weights", "weights.safetensors"),
            ("distance", "weights.safetensors"),
        ]
        for name, damage in [
            ("terabytes", promise),
            ("an endless header", endless),
            ("a pickle", lambda path: torch.save({"a": torch.zeros(3)}, path)),
            ("nothing in it", tensors(lambda t: {})),
        ]
    ),
    *(
        Case(reader, file, damage, words, name)
        for reader, file, key in [
            ("run", "run/protector.safetensors", "conv1.weight"),
            ("unfinished", "unfinished/checkpoint.safetensors", "conv1.weight"),
            ("own judge", "own.safetensors", "conv1.weight"),
        ]
        for name, damage, words in [
            ("a tensor less", one(key, None), key),
            ("another shape", one(key, lambda t: t[:1]), key),
            ("NaN", one(key, lambda t: t * torch.nan), key),
            ("one infinity", one(key, lambda t: t.index_fill(0, torch.tensor([0]), torch.inf)), key),
            ("bytes", one(key, lambda t: t.to(torch.uint8)), key),
            ("one more", tensors(lambda t: t | {"extra": torch.zeros(1)}), "extra"),
        ]
    ),
    *(
        Case("unfinished", "unfinished/checkpoint.safetensors", damage, words, name)
        for name, damage, words in [
            ("no step", told("step", None), "step"),
            ("a negative step", told("step", "-1"), "step"),
            ("a step as text", told("step", '"1"'), "step"),
            ("half a step", told("step", "1.5"), "step"),
            ("a NaN step", told("step", "NaN"), "step"),
            ("a step beyond the end", told("step", "3"), "step"),
            ("a true step", told("step", "true"), "step"),
            ("nothing said", about("null"), ""),
            ("a list", about("[]"), ""),
            ("no JSON", about("{"), ""),
            ("deep", about("[" * 100_000), ""),
            ("no metadata", tensors(lambda t: t, None), "step"),
            ("an optimizer's name", tensors(lambda t: t | {"protector.optimizer/x": torch.zeros(1)}), "optimizer/"),
            ("its number", tensors(lambda t: t | {"protector.optimizer/9999/exp_avg": torch.zeros(1)}), "9999"),
            ("its shape", one("protector.optimizer/0/exp_avg", lambda t: t[:1]), "optimizer/0/exp_avg"),
        ]
    ),
    *(
        Case("own judge", "own.safetensors", damage, words, name)
        for name, damage, words in [
            ("no size", told("size", None), "size"),
            ("size as text", told("size", '"16"'), "size"),
            ("size 0", told("size", "0"), "size"),
            ("NaN", told("size", "NaN"), "size"),
            ("another size", told("size", "[16]"), "size"),
            ("no identification", told("identification", None), ""),
            ("identification null", told("identification", "null"), "identification"),
            ("identification a list", told("identification", "[]"), "identification"),
            ("width as text", told("identification.width", '"1"'), "width"),
            ("width 0", told("identification.width", "0"), "width"),
            ("width of another", told("identification.width", "0.5"), ""),
            ("terabytes of width", told("identification.width", "1e9"), ""),
            ("more", told("identification.more", "3"), "more"),
            ("nothing said", about("null"), ""),
            ("a list", about("[]"), ""),
            ("no JSON", about("{"), ""),
            ("deep", about("[" * 100_000), ""),
            ("no metadata", tensors(lambda t: t, None), ""),
        ]
    ),
    *(
        Case("dump.safetensors", "dump.safetensors", damage, words, name)
        for name, damage, words in [
            ("no names", tensors(lambda t: t, {"a": "b"}), "names"),
            ("no metadata", tensors(lambda t: t, None), "names"),
            ("names no JSON", tensors(lambda t: t, {"names": "["}), ""),
            ("names a number", tensors(lambda t: t, {"names": "3"}), "names"),
            ("names of numbers", tensors(lambda t: t, {"names": json.dumps(list(range(40)))}), "name"),
            ("names deep", tensors(lambda t: t, {"names": "[" * 100_000}), ""),
            ("a scalar", tensors(lambda t: {"features": torch.tensor(3.0)}), "features"),
            ("complex", tensors(lambda t: {"features": t["features"] * 1j}), "features"),
            ("booleans", tensors(lambda t: {"features": t["features"] > 0}), "features"),
            ("NaN", tensors(lambda t: {"features": t["features"] * torch.nan}), "features"),
        ]
    ),
]
NETWORKS = [
    *(
        Case(reader, "judge.onnx", damage, words, name)
        for reader in ("judge", "encoder")
        for name, damage, words in [
            ("two inputs", lambda path: write_network(path, inputs=("pictures", "other")), "2 inputs"),
            ("another size", lambda path: write_network(path, side=24), "24 x 24"),
            ("vectors", lambda path: write_network(path, shape=["n", 64]), "takes"),
            ("grey", lambda path: write_network(path, shape=["n", 1, SIZE, SIZE]), "takes"),
            ("oblong", lambda path: write_network(path, shape=["n", 3, SIZE, SIZE + 1]), "takes"),
            ("whole numbers", lambda path: write_network(path, kind=TensorProto.INT64), "takes"),
            ("weights elsewhere", lambda path: write_network(path, elsewhere=True), ""),
        ]
    ),
    # An encoder's answers are looked at where they are recorded: tests/test_finite.py.
    *(
        Case("judge", "judge.onnx", partial(write_network, weight=weight), "finite", f"weights {weight}")
        for weight in (float("nan"), float("inf"))
    ),
]
CASES = [
    *ANY,
    *OBJECTS,
    *PACK,
    *LINKED,
    *AUDIT,
    *RUN,
    *BENCHMARK,
    *JUDGE,
    *CONFIGURED,
    *ARRAYS,
    *TABLES,
    *TENSORS,
    *NETWORKS,
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_damaged_is_named_with_its_file_and_field(house: Path, tmp_path: Path, case: Case) -> None:
    spoiled = borrow(house, tmp_path / "house", "pack", Path(case.file).parts[0])
    damaged = spoiled / case.file
    own = shutil.copyfile(damaged, spoiled / "own")  # not by the link, through which the house would be damaged
    os.replace(own, damaged)
    case.damage(damaged)
    with pytest.raises(InputError) as error:
        READERS[case.reader](spoiled)
    said = str(error.value)
    assert Path(case.file).name in said or str(Path(case.file).parent) in said, said
    assert case.words in said, said
    assert "Traceback" not in said
    assert len(said) < 1200 + 3 * len(str(spoiled)), said
