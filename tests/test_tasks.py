"""What an encoder is for: which task a pack leaves no doubt of, and that each task's figures are what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, mean_absolute_error, r2_score

import oneway
from oneway import InputError, Pack
from oneway.config import from_dict, to_dict
from oneway.data.columns import classes
from oneway.data.prepare import prepare
from oneway.data.source import Source
from oneway.protection.config import read
from oneway.report.reports import RunReport
from oneway.report.table import utility_line
from oneway.report.values import Utility
from oneway.tasks.attributes import Attributes
from oneway.tasks.multiclass import Multiclass
from oneway.tasks.registry import AnyTask, task_of, whole
from oneway.tasks.regression import Regression
from oneway.tasks.task import Task, loss_of, told_by, utility_of
from test_columns import mixed
from trees import noise_source

COUNT = 90
HAIR = Multiclass(columns=("hair",), classes=("bald", "curly", "straight"))
AGE = Regression(columns=("age",), mean=30.0, deviation=8.0)
BITS = Attributes(columns=("smiling", "red"))
SEVERAL = whole([HAIR, BITS, AGE])
EVERY = [HAIR, AGE, BITS, SEVERAL]


def drawn(task: Task, count: int = COUNT, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logits of someone who is right now and then, and labels."""
    generator = np.random.default_rng(seed)
    columns, logits = [], []
    for head in task.parts:
        if isinstance(head, Multiclass):
            labels = generator.integers(0, head.num_logits, (count, 1))
            logits.append((labels == np.arange(head.num_logits)) + generator.normal(0, 0.7, (count, head.num_logits)))
        elif isinstance(head, Attributes):
            labels = generator.random((count, head.num_logits)) < 0.4
            logits.append(labels - 0.5 + generator.normal(0, 0.5, labels.shape))
        else:
            labels = generator.normal(0, 1, (count, 1))
            logits.append(labels + generator.normal(0, 0.5, labels.shape))
        columns.append(labels.astype(np.float64))
    return np.concatenate(logits, axis=1), np.concatenate(columns, axis=1)


def certain(task: Task, labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits of someone who is never wrong."""
    found, place = [], 0
    for head in task.parts:
        own = labels[:, place : place + len(head.columns)]
        place += len(head.columns)
        if isinstance(head, Multiclass):
            found.append(9.0 * (own == np.arange(head.num_logits)))
        else:
            found.append(own if isinstance(head, Regression) else 9.0 * own - 4)
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("task", EVERY, ids=lambda task: task.name)
def test_utility_is_0_for_who_decides_alike_for_everybody_and_1_without_error(task: Task) -> None:
    _, labels = drawn(task)
    people = np.arange(COUNT) // 3
    assert utility_of(task, certain(task, labels), labels, people).value.value == pytest.approx(1)
    for seed in range(3):
        constant = np.random.default_rng(seed).normal(0, 1, (1, task.num_logits)).repeat(COUNT, axis=0)
        assert utility_of(task, constant, labels, people).value.value <= 1e-9
    mean = utility_of(AGE, np.full((COUNT, 1), drawn(AGE)[1].mean()), drawn(AGE)[1], people).value
    assert mean.value == pytest.approx(0, abs=1e-9)


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize("seed", range(4))
def test_the_figures_of_classes_are_those_of_scikit_learn(seed: int) -> None:
    logits, labels = drawn(HAIR, seed=seed)
    labels = labels[labels[:, 0] != seed][:, :1] if seed < 2 else labels  # of a class that no test picture has
    logits = logits[: len(labels)]
    told, truth = logits.argmax(axis=1), labels[:, 0]
    found = utility_of(HAIR, logits, labels, np.arange(len(labels)))
    assert found.further["accuracy"].value == pytest.approx(accuracy_score(truth, told))
    expected = balanced_accuracy_score(truth, told), balanced_accuracy_score(truth, told, adjusted=True)
    assert found.further["balanced accuracy"].value == pytest.approx(expected[0])
    assert found.value.value == pytest.approx(expected[1])
    for place, name in enumerate(HAIR.classes):
        of = truth == place
        assert (name in found.each) == of.any()
        if of.any():
            assert found.each[name].value == pytest.approx((told == place)[of].mean())
    assert HAIR.decide(logits)["hair"].tolist() == [HAIR.classes[place] for place in told]


def test_the_figures_of_a_number_are_those_of_scikit_learn_in_its_own_unit() -> None:
    logits, labels = drawn(AGE)
    truth, told = AGE.mean + AGE.deviation * labels[:, 0], AGE.decide(logits)["age"]
    found = utility_of(AGE, logits, labels, np.arange(COUNT))
    assert (found.value.value, found.value.unit) == (pytest.approx(r2_score(truth, told)), "R2")
    error = found.further["mean absolute error"]
    assert (error.value, error.unit) == (pytest.approx(mean_absolute_error(truth, told)), "age")
    assert error.low < error.value < error.high


def test_losses_are_cross_entropy_weighted_by_class_and_squared_error() -> None:
    logits, labels = drawn(HAIR)
    share = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    given = torch.from_numpy(logits), torch.from_numpy(labels)
    assert float(HAIR.loss(*given)) == pytest.approx(log_loss(labels[:, 0], share), 1e-5)
    weighted = replace(HAIR, weights=(0.5, 1.0, 4.0))
    weights = np.array(weighted.weights)[labels[:, 0].astype(int)]
    assert float(weighted.loss(*given)) == pytest.approx(log_loss(labels[:, 0], share, sample_weight=weights), 1e-5)
    logits, labels = drawn(AGE)
    expected = np.mean((logits - labels) ** 2)
    assert float(AGE.loss(torch.from_numpy(logits), torch.from_numpy(labels))) == pytest.approx(expected, 1e-5)


def test_several_tasks_are_the_mean_of_each_alone() -> None:
    logits, labels = drawn(SEVERAL)
    people, tensors = np.arange(COUNT), (torch.from_numpy(logits), torch.from_numpy(labels))
    alone = [(HAIR, slice(0, 3), slice(0, 1)), (BITS, slice(3, 5), slice(1, 3)), (AGE, slice(5, 6), slice(3, 4))]
    losses = [float(task.loss(tensors[0][:, ours], tensors[1][:, theirs])) for task, ours, theirs in alone]
    assert float(loss_of(SEVERAL, *tensors)) == pytest.approx(np.mean(losses))
    each = [utility_of(task, logits[:, ours], labels[:, theirs], people) for task, ours, theirs in alone]
    found = utility_of(SEVERAL, logits, labels, people)
    assert found.value.value == pytest.approx(np.mean([one.value.value for one in each]))
    assert [found.each[name] for name in ("hair", "2 attributes", "age")] == [one.value for one in each]
    assert found.further["age, mean absolute error"] == each[2].further["mean absolute error"]
    told = [told_by(task, logits[:, ours]) for task, ours, _ in alone]
    assert np.array_equal(told_by(SEVERAL, logits), np.concatenate(told, axis=1))
    decided = SEVERAL.decide(logits)
    for task, ours, _ in alone:
        for name, values in task.decide(logits[:, ours]).items():
            assert np.array_equal(decided[name], values)
    held = [task.validated(logits[:, ours], labels[:, theirs], people, calibrated=True) for task, ours, theirs in alone]
    assert SEVERAL.validated(logits, labels, people, calibrated=True) == pytest.approx(np.mean(held))
    assert SEVERAL.thresholds(logits, labels)[[0, 1, 2, 5]].tolist() == [0, 0, 0, 0]
    assert SEVERAL.thresholds(logits, labels)[3:5].tolist() == BITS.thresholds(logits[:, 3:5], labels[:, 1:3]).tolist()


@pytest.mark.parametrize("task", EVERY[:3], ids=lambda task: task.name)
def test_what_decides_a_task_is_json(task: Task) -> None:
    kind: Any = AnyTask
    assert TypeAdapter(kind).validate_json(json.dumps(to_dict(task)), strict=True) == task


def packed(path: Path, source: Source) -> Pack:
    return prepare(source, path, size=16, jobs=1, progress=False)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return packed(tmp_path_factory.mktemp("tasks") / "pack", mixed())


def test_a_task_is_what_is_asked_for(pack: Pack) -> None:
    task = task_of(pack, ("age", "hair", "smiling"))
    assert [(head.name, head.columns) for head in task.parts] == [
        ("regression", ("age",)),
        ("multiclass", ("hair",)),
        ("attributes", ("smiling",)),
    ]
    assert task.columns == ("age", "hair", "smiling")
    assert task_of(pack, ("multiclass:hair",)) == task_of(pack, ("hair",))
    hair = task_of(pack, ("hair",))
    assert isinstance(hair, Multiclass)
    assert hair.classes == ("curly", "bald", "straight")  # in the pack's order, but for one that no picture has
    for part in (pack.private, pack.test):
        codes = [hair.classes[place] for place in hair.labels(part)[:, 0]]
        assert codes == [pack.classes["hair"][place] for place in part.values("hair")]
    age = task_of(pack, ("age",))
    assert isinstance(age, Regression)
    assert age.labels(pack.private).mean() == pytest.approx(0, abs=1e-9)
    assert age.labels(pack.private).std() == pytest.approx(1)
    assert (age.labels(pack.test) * age.deviation + age.mean)[:, 0].tolist() == pack.test.values("age").tolist()


@pytest.mark.parametrize(
    ("columns", "name"),
    [(("a", "b"), "attributes"), (("hair",), "multiclass"), (("age",), "regression")],
)
def test_a_pack_that_leaves_no_doubt_says_its_task(tmp_path: Path, columns: tuple[str, ...], name: str) -> None:
    plain = noise_source(60, attributes=2)
    given = {"a": plain.columns.column(0), "b": plain.columns.column(1)}
    table = pa.table(given | {name: mixed().columns.column(name) for name in ("hair", "age")}).select(list(columns))
    made = task_of(packed(tmp_path / "pack", replace(plain, attributes=columns, labels=table)))
    assert (made.name, made.columns) == (name, columns)


WHOLE = pa.array([float(place % 4) for place in range(60)])
DOUBTS = [
    (
        (),
        {},
        r"attributes of several kinds, smiling \(binary\), hair \(classes\), age \(numbers\), .*--task multi",
    ),
    (("hair", "multiclass:hair"), {}, "task: hair: named more than once"),
    (("multiclas:hair",), {}, "task 'multiclas' does not exist; did you mean 'multiclass'"),
    (("hiar",), {}, "attribute 'hiar' does not exist; did you mean 'hair'"),
    (("multiclass:hiar",), {}, "attribute 'hiar' does not exist; did you mean 'hair'"),
    (("regression:hair",), {}, "hair is of classes, of which regression cannot be made; give multiclass:hair"),
    (("attributes:age",), {}, "age is of numbers, of which attributes .* multiclass:age or regression:age"),
    (("multiclass:age",), {}, "age holds numbers that are not whole, so they are no classes; give regression:age"),
    (("age",), {"age": WHOLE}, "age holds whole numbers, which may be classes or a quantity; .*multiclass:age or reg"),
    (("hair",), {"hair": classes(["bald"] * 60)}, "all private images are of one class of hair, 'bald'"),
    (("age",), {"age": pa.array([3.5] * 60)}, "age is 3.5 in all private images, so there is nothing to tell"),
    (("hair",), {"hair": classes([None, "a", "b"] * 20)}, "private images have no label of hair; leave it out"),
    (("age",), {"age": pa.array([None, 1.5, 2.5] * 20)}, "private images have no label of age; leave it out"),
]


@pytest.mark.parametrize(("asked", "changes", "words"), DOUBTS, ids=[words[:40] for *_, words in DOUBTS])
def test_a_task_that_is_in_doubt_or_cannot_be_learned_is_refused_in_a_line(
    tmp_path: Path, pack: Pack, asked: tuple[str, ...], changes: dict[str, Any], words: str
) -> None:
    made = packed(tmp_path / "pack", mixed(**changes)) if changes else pack
    with pytest.raises(InputError, match=words) as refusal:
        task_of(made, asked)
    assert "\n" not in str(refusal.value)


def test_a_class_that_training_lacks_and_one_alone_in_a_part_are_refused(tmp_path: Path) -> None:
    parts = ["private", "public", "validation", "test"]
    source = replace(
        noise_source(60, attributes=0), identities=None, partition=tuple(parts[at % 4] for at in range(60))
    )
    for first, words in (
        ({"test": ["a", "b", "c"]}, "5 test images are of a class of x that no private image has: c; prepare the pack"),
        ({"validation": ["a"]}, "all validation images are of one class of x, 'a', so nothing can be measured"),
    ):
        told = [first.get(parts[at % 4], ["a", "b"]) for at in range(60)]
        labels = pa.table({"x": classes([names[at // 4 % len(names)] for at, names in enumerate(told)])})
        made = packed(tmp_path / str(len(words)), replace(source, attributes=("x",), labels=labels))
        with pytest.raises(InputError, match=words):
            task_of(made)


def test_whole_numbers_may_be_classes(tmp_path: Path) -> None:
    made = packed(tmp_path / "pack", mixed(age=pa.array([float(place % 3 * 10) for place in range(60)])))
    task = task_of(made, ("multiclass:age",))
    assert isinstance(task, Multiclass)
    assert task.classes == ("0", "10", "20")
    assert [task.classes[place] for place in task.labels(made.test)[:, 0]] == [
        f"{x:.0f}" for x in made.test.values("age")
    ]


def test_unbalanced_classes_are_weighted_and_it_is_said(tmp_path: Path) -> None:
    told = classes(["a" if place % 6 else "b" for place in range(240)])
    source = replace(noise_source(240, attributes=0), attributes=("x",), labels=pa.table({"x": told}))
    made = packed(tmp_path / "pack", source)
    task = task_of(made)
    assert isinstance(task, Multiclass)
    counts = np.bincount(task.labels(made.private)[:, 0])
    assert task.weights == pytest.approx(len(made.private) / (2 * counts))
    assert "classes are unbalanced, so they are weighted in the loss" in task.said
    assert "unbalanced" not in HAIR.said


# ---- runs


@pytest.fixture(scope="module")
def run(pack: Pack, tiny: Callable[..., oneway.ProtectConfig], tmp_path_factory: pytest.TempPathFactory) -> oneway.Run:
    config = tiny({"steps": 3, "task": ("hair", "smiling", "age"), "network.cut": "layer1"})
    return oneway.protect(pack, tmp_path_factory.mktemp("run") / "run", config, progress=False)


def test_a_run_decides_classes_and_numbers_wherever_it_is(run: oneway.Run, pack: Pack) -> None:
    assert run.task == task_of(pack, ("hair", "smiling", "age"))
    assert oneway.Run.open(run.path, pack).task == run.task
    loaded = oneway.load_encoder(run.path)
    assert loaded.task == run.task
    pictures = pack.test.images(slice(0, 9))
    decided = loaded.decide(loaded.encode(pictures))
    assert list(decided) == ["hair", "smiling", "age"]
    assert set(decided["hair"]) <= {"curly", "bald", "straight"}
    assert (decided["smiling"].dtype, decided["age"].dtype.kind) == (np.bool_, "f")
    report = run.report.utility
    assert list(report.each) == ["hair", "smiling", "age"]
    assert utility_line(report).startswith("mean utility of hair, 3 classes and smiling and age on ")
    assert "age, mean absolute error" in utility_line(report)


def test_a_run_whose_record_lies_about_its_task_is_refused(run: oneway.Run, pack: Pack, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("results.json", "protector.safetensors"):
        (copy / name).write_bytes((run.path / name).read_bytes())
    said = json.loads((run.path / "config.json").read_text())
    for change, words in (
        ({"attributes": ["hair"]}, "task must decide hair, not hair, smiling, age"),
        ({"task": [{"name": "multiclas", "columns": ["hair"]}]}, "task"),
        ({"task": [{"name": "multiclass", "columns": ["hair"]}]}, "classes is missing"),
    ):
        (copy / "config.json").write_text(json.dumps(said | change))
        with pytest.raises(InputError, match=words):
            oneway.Run.open(copy, pack)


def test_configurations_and_reports_of_before_there_were_tasks_open(run: oneway.Run) -> None:
    said = to_dict(run.config)
    assert said.pop("task") == ["hair", "smiling", "age"]
    assert read(said | {"attributes": ["Smiling"]}).task == ("Smiling",)
    figure = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9, "unit": "MCC"}
    old = from_dict(Utility, {"mean_mcc": figure, "mcc": {"Smiling": figure, "Bald": figure}})
    assert utility_line(old) == "mean MCC of 2 attributes on 9 test people: 0.500 [0.400, 0.600] (floor: 0)"
    report = to_dict(run.report) | {"utility": {"mean_mcc": figure, "mcc": {}}, "validation": {"mean_mcc": 0.5}}
    assert from_dict(RunReport, report).validation.utility == 0.5
