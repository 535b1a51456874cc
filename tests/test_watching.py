"""The watch: each alarm is raised by what it is for, honest answers raise few, what is no answer is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

import oneway
from bundles import write_bundle
from dumps import write_dump
from oneway import cli
from oneway.config import from_dict, to_dict
from oneway.shipping.contract import CONTRACT, Contract, Noise, Quantisation, read_contract
from oneway.shipping.reference import REFERENCE, Reference, read_reference, reference_of
from oneway.shipping.statistics import MIXED, alike, mean_of, moments, power, white_of
from oneway.storage.inputs import file_hash
from oneway.watching.canary import linkage, shared
from oneway.watching.drift import drift, duplicates, means_of
from oneway.watching.received import read_received
from oneway.watching.report import Check
from oneway.watching.running import Running
from oneway.watching.watch import watch

NUMBERS, SHOTS, NOISE = 32, 3, 0.4
ROUNDED = Quantisation(bits=8, clip=5.0)
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class World:
    """People, an encoder of them (few directions tell more than others), and noise, all drawn."""

    encoder: NDArray[np.float64]
    rng: np.random.Generator

    def clean(self, people: int, shots: int = SHOTS) -> NDArray[np.float64]:
        """What an encoder says of pictures: (people * shots, NUMBERS), of mean square 1."""
        who = self.rng.normal(size=(people, 1, NUMBERS)) + self.rng.normal(size=(people, shots, NUMBERS))
        told = (who @ self.encoder + self.encoder[0]).reshape(-1, NUMBERS)
        return told / np.sqrt(np.square(told).mean(axis=1, keepdims=True))

    def noise(self, *shape: int) -> NDArray[np.float64]:
        return NOISE * self.rng.normal(size=(*shape, NUMBERS))

    def reference(self, people: int = 300) -> Reference:
        clean = self.clean(people)
        training = self.clean(400)
        answers = ROUNDED.levels(clean[:, None] + self.noise(len(clean), 2))
        who = np.arange(people).repeat(SHOTS)
        return reference_of(answers, who, ROUNDED, sent(training + self.noise(len(training))))


def world(seed: int = 0) -> World:
    rng = np.random.default_rng(seed)
    turned = np.linalg.qr(rng.normal(size=(NUMBERS, NUMBERS)))[0]
    return World(turned / np.sqrt(np.arange(1, NUMBERS + 1)), rng)


def sent(numbers: NDArray[np.float64]) -> Floats:
    return ROUNDED.values(ROUNDED.levels(numbers))


def alarms(reference: Reference, vectors: Floats) -> set[str]:
    return {check.name for check in checks(reference, vectors, 1e-4) if check.alarm}


def checks(reference: Reference, vectors: Floats, rate: float) -> list[Check]:
    found = drift(reference, means_of(reference, vectors), len(vectors), rate)
    return [*found, duplicates(reference, vectors, rate)]


def another_encoder(drawn: World) -> NDArray[np.float64]:
    return world(1).clean(450) + drawn.noise(450 * SHOTS)


def another_crop(drawn: World) -> NDArray[np.float64]:
    turned = np.eye(NUMBERS) + 0.3 * np.roll(np.eye(NUMBERS), 1, axis=1)  # every number takes something of the next
    return drawn.clean(450) @ turned / np.sqrt(1.09) + drawn.noise(450 * SHOTS)


def another_domain(drawn: World) -> NDArray[np.float64]:
    return drawn.clean(450) + 2.0 * drawn.encoder[1] + drawn.noise(450 * SHOTS)


def noise_off(drawn: World) -> NDArray[np.float64]:
    return drawn.clean(450)


def noise_frozen(drawn: World) -> NDArray[np.float64]:
    return drawn.clean(450) + drawn.noise(1)


def noise_seeded_alike(drawn: World) -> NDArray[np.float64]:
    """Every device sends the first two answers after one seed."""
    return drawn.clean(450) + np.tile(drawn.noise(2), (225 * SHOTS, 1))


def sent_twice(drawn: World) -> NDArray[np.float64]:
    answers = drawn.clean(450) + drawn.noise(450 * SHOTS)
    answers[7] = answers[300]
    return answers


def coarse(drawn: World) -> NDArray[np.float64]:
    """Rounded to every sixteenth level."""
    return np.rint((drawn.clean(450) + drawn.noise(450 * SHOTS)) / ROUNDED.step / 16) * 16 * ROUNDED.step


@pytest.mark.parametrize(
    ("answers", "raised"),
    [
        (another_encoder, {"mean", "covariance"}),
        (another_crop, {"covariance"}),
        (another_domain, {"mean"}),
        (noise_off, {"covariance", "power"}),
        (noise_frozen, {"mean"}),
        (noise_seeded_alike, {"mean"}),
        (sent_twice, {"duplicates"}),
        (coarse, {"levels"}),
    ],
)
def test_each_alarm_is_raised_by_what_it_is_for(answers: Callable[[World], Any], raised: set[str]) -> None:
    drawn = world()
    reference = drawn.reference()
    assert alarms(reference, sent(drawn.clean(450) + drawn.noise(450 * SHOTS))) == set()
    assert alarms(reference, sent(answers(drawn))) >= raised


@pytest.mark.parametrize(("people", "shots"), [(300, 1), (60, SHOTS)])
def test_honest_answers_raise_as_few_alarms_as_stated(people: int, shots: int) -> None:
    """At 0.05 each; with one picture of each person there are fewer, since the reference has several."""
    drawn, repeats = world(), 80
    raised = dict.fromkeys(("mean", "covariance", "power", "levels", "duplicates"), 0)
    for _ in range(repeats):
        reference, answers = drawn.reference(60), sent(drawn.clean(people, shots) + drawn.noise(people * shots))
        for check in checks(reference, answers, 0.05):
            raised[check.name] += check.alarm
    most = stats.binom.isf(1e-3, repeats, 0.05)
    assert max(raised.values()) <= most, raised
    assert sum(raised.values()) > 0  # bounds that nothing reaches would hold too


def test_a_running_watch_is_that_of_all_it_received_and_holds_sums_alone() -> None:
    drawn = world()
    reference, answers = drawn.reference(), ROUNDED.levels(drawn.clean(100) + drawn.noise(100 * SHOTS))
    running, held = Running("0" * 64, reference, 250), []
    for part in np.split(answers[:249], [1, 3, 100, 101]):
        assert running.take(part) is None
        held.append(sum(np.size(each) for each in running._sums.values()))
    assert len(set(held)) == 1, "as much after one answer as after many"
    report = running.take(answers[249:])
    assert report is not None
    assert report.answers == len(answers)
    vectors = ROUNDED.values(answers)
    expected = drift(reference, means_of(reference, vectors), len(vectors), 0.001 / 4)
    assert [each.name for each in report.checks] == [each.name for each in expected]
    np.testing.assert_allclose([each.figure for each in report.checks], [each.figure for each in expected], rtol=1e-4)
    assert [each.high for each in report.checks] == [each.high for each in expected]
    assert report.alarms == []
    again = running.take(ROUNDED.levels(drawn.clean(100)))
    assert again is not None
    assert "power" in {each.name for each in again.alarms}, "and the sums had begun anew"
    assert set(again.unchecked) == {"duplicates", "noise", "shared noise", "linkage"}


def test_moments_say_how_means_of_others_lie_about_theirs() -> None:
    """By many means: their squared distance has the expected value trace / n, and the variance that freedom says."""
    drawn, people, repeats = world(), 80, 200
    who = np.arange(people).repeat(SHOTS)

    def measured(vectors: Floats) -> Floats:
        return vectors

    true = mean_of(measured, drawn.clean(40_000).astype(np.float32))
    distances, found = [], []
    for _ in range(repeats):
        vectors = drawn.clean(people).astype(np.float32)
        found.append(moments(measured, vectors, who))
        distances.append(float(np.square(found[-1].mean - true).sum()))
    trace = np.mean([each.trace for each in found])
    assert np.mean(distances) == pytest.approx(trace / (people * SHOTS), rel=0.1)
    freedom = 2 * np.mean(distances) ** 2 / np.var(distances)
    assert np.median([each.freedom for each in found]) == pytest.approx(freedom, rel=0.3)


def test_whitened_numbers_of_the_same_people_have_no_covariance_but_1() -> None:
    vectors = (world().clean(400) + world(3).noise(1200)).astype(np.float32)
    white = white_of(vectors)(vectors)
    np.testing.assert_allclose(np.cov(white, rowvar=False), np.eye(NUMBERS), atol=0.03)
    many = np.random.default_rng(0).normal(size=(300, 2 * MIXED)).astype(np.float32)
    assert white_of(many)(many).shape == (300, MIXED)


def test_products_are_the_whole_matrix() -> None:
    vectors = world().clean(50).astype(np.float32)
    map_ = white_of(vectors)
    white = map_(vectors)
    squares = np.square(map_.products(vectors)).sum(axis=1)
    np.testing.assert_allclose(squares, [np.square(np.outer(row, row)).sum() for row in white], rtol=1e-3)
    assert power(vectors).shape == (150, 1)


def test_pictures_of_one_person_are_compared_and_answers_for_one_picture_are_not() -> None:
    white = np.array([[1, 0], [0, 1], [1, 0], [0, 1], [1, 0]], dtype=np.float32)
    pictures, people = np.array([0, 0, 1, 2, 3]), np.array([0, 0, 0, 1, 2])
    np.testing.assert_allclose(alike(white, pictures, people), [0.5])


def test_noises_are_found_alike_whatever_the_pictures_and_the_order() -> None:
    drawn = world()
    clean, pictures = drawn.clean(10, 1).repeat(8, axis=0), np.arange(10).repeat(8)
    assert not shared(sent(clean + drawn.noise(80)), pictures, 1e-4).alarm
    one = drawn.noise(40)  # two devices of one seed, which answer for different pictures
    assert shared(sent(clean + np.concatenate([one, one[::-1]])), pictures, 1e-4).alarm
    assert shared(sent(clean), pictures, 1e-4).figure == 1


def test_canary_people_who_are_linked_more_raise_an_alarm() -> None:
    drawn = world()
    reference, who = drawn.reference(), np.arange(60).repeat(SHOTS)
    assert reference.alike is not None
    clean = drawn.clean(60)
    pictures = np.arange(len(clean))
    for noise, person, raised in ((1, 1, False), (0, 1, True), (1, SHOTS, True)):  # honest, off, one picture for all
        answers = sent(clean[pictures // person * person] + noise * drawn.noise(len(clean)))
        found = alike(reference.white(answers), pictures, who)
        assert linkage(reference.alike, found, 1e-4).alarm == raised, (noise, person)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose reference is that of the drawn people."""
    path = tmp_path_factory.mktemp("watch") / "bundle"
    write_bundle(path, numbers=NUMBERS)
    (path / REFERENCE).write_text(json.dumps(to_dict(world().reference())))
    resigned(path, lambda old: replace(old, noise=Noise(deviation=NOISE), quantisation=ROUNDED))
    return path


def resigned(path: Path, change: Callable[[Contract], Contract]) -> None:
    """Let the contract name the files as they are now."""
    files = {each.name: file_hash(each) for each in sorted(path.iterdir()) if each.name != CONTRACT}
    contract = replace(change(read_contract(path)), files=files)
    (path / CONTRACT).write_text(json.dumps(to_dict(contract)))


def levels(drawn: World, people: int = 100) -> NDArray[np.int8]:
    return ROUNDED.levels(drawn.clean(people) + drawn.noise(people * SHOTS))


def canaries(folder: Path, drawn: World, *, noise: float = 1.0, people: int = 10) -> Path:
    """Messages of two pictures of each of some people, five answers each."""
    for number, clean in enumerate(drawn.clean(people, 2)):
        file = folder / f"person{number // 2}" / f"{number % 2}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(ROUNDED.pack(ROUNDED.levels(clean + noise * drawn.noise(5))).tobytes())
    return folder


def said(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    try:
        cli.main(["watch", *map(str, arguments)])
    except SystemExit as ended:
        return int(ended.code or 0), "".join(capsys.readouterr())
    return 0, "".join(capsys.readouterr())


def test_the_command_watches(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = world()
    write_dump(tmp_path / "today.npz", [str(place) for place in range(300)], levels(drawn))
    known = canaries(tmp_path / "known", drawn)
    report, metrics = tmp_path / "out" / "watch.json", tmp_path / "out" / "oneway.prom"
    features = ("--features", tmp_path / "today.npz")
    code, out = said(capsys, bundle, *features, "--canary", known, "--json", report, "--metrics", metrics)
    assert code == 0, out
    assert out.count("passed: ") == 8
    found = json.loads(report.read_text())
    assert (found["answers"], found["canaries"], found["unchecked"]) == (300, 100, {})
    assert max(len(str(value)) for value in found.values()) < 4000  # statistics, never vectors
    figures = metrics.read_text()
    assert figures.count("oneway_watch_figure{") == figures.count("oneway_watch_alarm{") == 8
    assert 'oneway_watch_alarm{bundle="' in figures

    code, out = said(
        capsys, bundle, *features, "--canary", canaries(tmp_path / "off", drawn, noise=0), "--json", report
    )
    assert code == 3
    assert "ALARM: noise: " in out
    assert "Noise is off or too small" in out
    checks = json.loads(report.read_text())["checks"]
    assert {each["name"] for each in checks if each["alarm"]} >= {"noise", "shared noise"}
    assert said(capsys, bundle, *features)[1].count("not checked: ") == 3


def test_answers_are_read_as_bytes_levels_and_numbers(bundle: Path, tmp_path: Path) -> None:
    contract, rows = read_contract(bundle), levels(world())
    names = [f"a/{place}" for place in range(len(rows))]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "all.bin").write_bytes(ROUNDED.pack(rows).tobytes())
    write_dump(tmp_path / "levels.npz", names, rows)
    write_dump(tmp_path / "bytes.parquet", names, ROUNDED.pack(rows))
    write_dump(tmp_path / "numbers.safetensors", names, ROUNDED.values(rows))
    for name in ("a", "a/all.bin", "levels.npz", "bytes.parquet", "numbers.safetensors"):
        found = read_received(tmp_path / name, contract)
        np.testing.assert_array_equal(found.levels, rows)
        assert len(found.names) == len(rows)
    assert read_received(tmp_path / "levels.npz", contract).people is not None
    assert read_received(tmp_path / "a", contract).people is None


HALF = np.full((200, NUMBERS), 0.5 * ROUNDED.step, dtype=np.float32)
BAD: dict[str, tuple[NDArray[Any], str]] = {
    "too few": (levels(world(), 20), "holds 60 answers; a watch needs 100 or more"),
    "too short": (np.zeros((200, NUMBERS - 1), np.int8), "32 numbers .* these are 31 of int8"),
    "too few bytes": (np.zeros((200, NUMBERS - 1), np.uint8), "or 32 bytes .* these are 31 of uint8"),
    "NaN": (
        np.where(np.arange(200)[:, None] == 3, np.nan, np.zeros((200, NUMBERS))),
        "1 of 200 answers are not finite",
    ),
    "not rounded": (HALF, "200 of 200 answers hold numbers that are none of the contract's levels"),
    "a level that nobody sends": (np.full((200, NUMBERS), -128, np.int8), "of the contract's levels"),
    "text": (np.full((200, NUMBERS), "a"), "32 of <U1"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_no_device_sends_is_refused(bundle: Path, tmp_path: Path, case: str) -> None:
    rows, sentence = BAD[case]
    np.savez(tmp_path / "today.npz", names=np.arange(len(rows)).astype(str), features=rows)
    with pytest.raises(oneway.InputError, match=sentence):
        watch(bundle, tmp_path / "today.npz")


def test_bad_input_names_the_way_out(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dump(tmp_path / "today.npz", [str(place) for place in range(300)], levels(world()))
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "a.bin").write_bytes(b"\0" * 33)
    today = tmp_path / "today.npz"
    for arguments, sentence in {
        ("--features", tmp_path / "none"): "does not exist; give a folder of .bin files",
        ("--features", tmp_path / "cut"): "a.bin: a message is 32 bytes",
        ("--features", today, "--canary", today): "no two of which are for one canary",
        ("--features", today, "--false-alarms", "0.5"): "must be above 0 and below 0.5, not 0.5",
        ("--features", today, "--json", tmp_path / "today.npz" / "x"): "cannot write",
    }.items():
        code, out = said(capsys, bundle, *arguments)
        assert (code, sentence in " ".join(out.split())) == (2, True), out


def test_a_reference_that_is_none_is_refused(bundle: Path, tmp_path: Path) -> None:
    contract = read_contract(bundle)
    with pytest.raises(oneway.InputError, match="does not exist, so nothing can be compared; make the bundle again"):
        read_reference(tmp_path, contract)
    content = json.loads((bundle / REFERENCE).read_text())
    assert read_reference(bundle, contract) == from_dict(Reference, content)
    (tmp_path / REFERENCE).write_text(json.dumps(content | {"numbers": 31}))
    with pytest.raises(oneway.InputError, match="is of another contract: 31 numbers"):
        read_reference(tmp_path, contract)
    (tmp_path / REFERENCE).write_text(json.dumps(content | {"noise": -1}))
    with pytest.raises(oneway.InputError, match=r"reference\.json: noise must be 0 or more"):
        read_reference(tmp_path, contract)
    with pytest.raises(oneway.InputError, match="needs the pictures of 8 people, and these are of 7"):
        reference_of(np.zeros((7, 2, 4), np.int8), np.arange(7), ROUNDED, np.zeros((9, 4), np.float32))


def test_without_noise_nothing_is_said_of_it(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "copy"
    path.mkdir()
    for file in bundle.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    resigned(path, lambda old: replace(old, noise=None))
    write_dump(tmp_path / "today.npz", [str(place) for place in range(300)], levels(world()))
    assert set(watch(path, tmp_path / "today.npz").unchecked) == {"duplicates", "noise", "shared noise", "linkage"}
