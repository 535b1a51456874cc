"""Finished audits side by side: the interval of a change by an oracle, what is refused, and what fails a gate."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import oneway
from audited import LATE, audited
from conftest import Attacked
from oneway import cli
from oneway.auditing.shares import AGAIN
from oneway.errors import InputError
from oneway.metrics.difference import Ratio, paired, unpaired
from oneway.metrics.estimate import RESAMPLES, Estimate, mean
from oneway.report.comparison import Compared, Comparison, read_margins
from oneway.report.values import SCHEMA

pytestmark = pytest.mark.whole

Change = Callable[[dict[str, Any]], None]
DOCS = Path(__file__).parents[1] / "docs" / "compare.md"
PEOPLE = np.repeat(np.arange(500), 2)
LINKED = "tar_at_far_1e-3"


def redrawn(people: NDArray[np.int64], of_rows: Callable[[NDArray[np.int64]], float]) -> NDArray[np.float64]:
    """The oracle: draw people, put together the rows of those drawn, as often as drawn, and compute anew."""
    rows = [np.flatnonzero(people == person) for person in np.unique(people)]
    draws = np.random.default_rng(0).multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=RESAMPLES)
    every = [np.concatenate([np.tile(own, times) for own, times in zip(rows, draw, strict=True)]) for draw in draws]
    return np.quantile([of_rows(drawn) for drawn in every], (0.025, 0.975))


def test_a_paired_change_is_that_of_the_same_people_drawn_for_both() -> None:
    random = np.random.default_rng(3)
    people = random.integers(0, 30, 90)
    before = random.normal(size=30)[people] + random.normal(size=90)
    after = before + 0.2 * random.normal(size=90) + 0.1
    found = paired(Ratio.mean(before), Ratio.mean(after), people, unit="cosine")
    assert found.value == pytest.approx(after.mean() - before.mean())
    low, high = redrawn(people, lambda rows: float(after[rows].mean() - before[rows].mean()))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    alone = [mean(values, people, unit="cosine") for values in (before, after)]
    apart = unpaired(*alone)
    assert apart.value == pytest.approx(found.value)
    assert apart.high - apart.low > 3 * (found.high - found.low), "what is common to both must cancel"


def test_a_paired_change_of_a_share_of_pairs_weighs_people_by_their_pairs() -> None:
    random = np.random.default_rng(4)
    people = np.repeat(np.arange(40), random.integers(1, 5, 40))
    pairs = np.bincount(people)[people] - 1.0  # of who has one picture, none
    accepted = [np.floor(random.random(len(people)) * (pairs + 1)) for _ in range(2)]
    found = paired(*(Ratio(parts=each, wholes=pairs) for each in accepted), people, unit="share")
    some = pairs > 0

    def share(rows: NDArray[np.int64]) -> float:
        first, later = (each[some][rows].sum() / pairs[some][rows].sum() for each in accepted)
        return float(later - first)

    low, high = redrawn(people[some], share)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.n == len(np.unique(people[some]))


def wilson(found: int, of: int) -> Estimate:
    """Wilson's interval of a proportion, which has nothing of ours in it."""
    share, z = found / of, 1.959964
    middle, half = share + z * z / (2 * of), z * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    low, high = ((middle + sign * half) / (1 + z * z / of) for sign in (-1, 1))
    return Estimate(value=share, low=low, high=high, n=of, unit="share")


def test_an_unpaired_change_is_newcombes() -> None:
    """His method 10 on his first example, 56/70 against 48/80: 0.0524 to 0.3339."""
    found = unpaired(wilson(48, 80), wilson(56, 70))
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-1, 1, width=32, allow_subnormal=False), min_size=2, max_size=40),
    st.floats(-0.5, 0.5, allow_subnormal=False),
)
def test_who_moves_all_alike_moves_for_certain(values: list[float], by: float) -> None:
    before, people = np.array(values), np.arange(len(values)) // 2
    found = paired(Ratio.mean(before), Ratio.mean(before + by), people, unit="cosine")
    assert np.allclose([found.value, found.low, found.high], by)
    turned = paired(Ratio.mean(before + by), Ratio.mean(before), people, unit="cosine")
    assert np.allclose([turned.value, turned.low, turned.high], -by)


def accepted(share: float, seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """One pair for each of a thousand pictures, so many of which are accepted."""
    found = np.zeros(len(PEOPLE))
    found[np.random.default_rng(seed).permutation(len(PEOPLE))[: round(share * len(PEOPLE))]] = 1
    return {"linkage accepted": found, "linkage pairs": np.ones(len(PEOPLE))}


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    """Write a finished audit of which alone linkage has scores of each picture."""

    def make(name: str, linked: float = 0.403, change: Change = lambda _: None, **scores: NDArray[Any]) -> Path:
        folder, results = tmp_path / name, audited()
        found = results["attacks"]["linkage"]["scores"][LINKED]
        found |= {"value": linked, "low": linked - 0.02, "high": linked + 0.02}
        change(results)
        folder.mkdir()
        (folder / "results.json").write_text(json.dumps(results))
        kept = {"people": PEOPLE} | accepted(linked) | scores
        np.savez(folder / "scores.npz", **kept)  # type: ignore[arg-type]
        return folder

    return make


def figure(comparison: Comparison, name: str) -> Compared:
    (found,) = (figure for figure in comparison.figures if figure.name == name)
    return found


def test_figures_with_scores_are_paired_and_the_others_are_not(made: Callable[..., Path]) -> None:
    comparison = oneway.compare(made("old"), made("new", 0.303))
    linked, other = figure(comparison, LINKED), figure(comparison, "rank_1")
    assert (linked.group, other.group, figure(comparison, "utility").group) == (1, 2, 0)
    assert [item.group for item in comparison.figures] == sorted(item.group for item in comparison.figures)
    assert linked.changes[0] is None
    assert linked.changes[1] is not None
    assert linked.changes[1].estimate.value == pytest.approx(-0.1)
    assert (linked.told(1), other.told(1)) == ("better", "")
    assert (comparison.names, comparison.people) == (["old", "new"], 500)
    assert {"picture_similarity", "picture_similarity by other.onnx"} <= {item.name for item in comparison.figures}
    assert comparison.passes()
    assert "better" in str(comparison)
    assert json.loads(comparison.to_json())["names"] == ["old", "new"]


def test_every_training_of_the_strongest_attacker_widens_the_interval(made: Callable[..., Path]) -> None:
    def similarity(values: NDArray[np.float64]) -> Change:
        def change(results: dict[str, Any]) -> None:
            seen = results["judges"][0]["pictures"]
            seen["picture_similarity"]["value"] = float(values.mean())
            seen["recognised"] = []

        return change

    name, values = "inversion picture_similarity", np.random.default_rng(0).random(len(PEOPLE))
    old = made("old", change=similarity(values), **{name: values, f"{name}{AGAIN}2": values - 0.3})
    new = made("new", change=similarity(values + 0.1), **{name: values + 0.1})
    change = figure(oneway.compare(old, new), "picture_similarity").changes[1]
    assert change is not None
    assert np.allclose([change.estimate.value, change.estimate.low, change.estimate.high], [0.1, 0.1, 0.4])


def test_finished_attacks_are_compared_as_their_scores_say(control: Attacked, attacked: Attacked) -> None:
    """Of real ones: the change of face similarity is that of the scores that are kept, by the oracle."""
    comparison = oneway.compare(control.path, attacked.path)
    stored = [np.load(each.path / "scores.npz") for each in (control, attacked)]
    before, after = (each["inversion picture_similarity"] for each in stored)
    change = figure(comparison, "picture_similarity").changes[1]
    assert change is not None
    low, high = redrawn(stored[0]["people"], lambda rows: float(after[rows].mean() - before[rows].mean()))
    assert (change.estimate.low, change.estimate.high) == (pytest.approx(low), pytest.approx(high))
    assert {"ssim", "psnr", "mse", "recognised"} & {item.name for item in comparison.figures if item.group == 1}


def set_to(path: str, value: object) -> Change:
    def change(results: dict[str, Any]) -> None:
        *way, last = path.split(".")
        for name in way:
            results = results[int(name)] if isinstance(results, list) else results[name]
        results[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            set_to("provenance.data.hash", "1" * 64),
            "is of the pack faces64 .* and .*/new of faces64 .* audit both on one",
        ),
        (set_to("provenance.judges", []), r"old was judged by own .* and .*new by no verifier; audit both by the same"),
        (set_to("provenance.judges.0.fingerprint", None), "the verifier 'own' has no fingerprint"),
        (set_to("provenance.audit.seeds", 3), r"with seeds = 1, and .*new with 3: .* --set seeds=VALUE --out NEW"),
        (set_to("provenance.audit.new", 3), r"with new = None, and"),
        (set_to("schema", 7), rf"schema must be {SCHEMA}, not 7; give the --out of a finished `oneway audit"),
        (set_to("kind", "protect"), r"kind must be 'audit', not 'protect'"),
        (set_to("attacks.linkage.scores.tar_at_far_1e-3.value", 0.5), r"gives another linked, TAR .* make both audits"),
    ],
)
def test_what_does_not_compare_is_refused(made: Callable[..., Path], change: Change, words: str) -> None:
    with pytest.raises(InputError, match=words):
        oneway.compare(made("old"), made("new", change=change))


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ({"people": PEOPLE[::-1]}, "are of other people; make both audits again"),
        ({"people": PEOPLE[:9]}, "'linkage accepted' is not a number for each test picture; make the audit again"),
        ({"people": PEOPLE / 2}, "does not say whom its pictures show; make the audit again"),
        ({"people": np.array(3)}, "does not say whom its pictures show"),
        ({"linkage accepted": np.full(len(PEOPLE), np.nan)}, "'linkage accepted' is not a number for each"),
        ({"linkage accepted": PEOPLE.astype(str)}, "'linkage accepted' is not a number for each"),
    ],
)
def test_damaged_scores_are_refused(made: Callable[..., Path], scores: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        oneway.compare(made("old"), made("new", **scores))


def test_audits_are_two_or_more_each_once_and_whole(made: Callable[..., Path], tmp_path: Path) -> None:
    old, new = made("old"), made("new")
    for folders, words in (
        ((), "two audits or more, not 0"),
        ((old,), "two audits or more, not 1: oneway compare BEFORE AFTER"),
        ((old, new, tmp_path / "new" / ".." / "old"), "old is given twice"),
        ((old, tmp_path / "none"), r"none/results\.json does not exist; give the --out of a finished `oneway audit"),
    ):
        with pytest.raises(InputError, match=words):
            oneway.compare(*folders)
    (new / "scores.npz").unlink()
    with pytest.raises(InputError, match=r"new lacks scores\.npz; make it again"):
        oneway.compare(old, new)


def test_what_differs_beside_the_encoder_is_left_out_and_said(made: Callable[..., Path]) -> None:
    first = made("old")
    other = oneway.compare(first, made("task", change=set_to("victim.task", ["Smiling"])))
    names = {item.name for item in other.figures}
    assert not names & {"utility", "inferred_mcc"}
    assert "not compared: utility and inference, since the encoders decide different tasks" in other.remarks
    other = oneway.compare(first, made("control", change=set_to("control", None)))
    assert not any("leakage" in item.name for item in other.figures)
    assert "not compared: leakage and excess, which are shares of different controls" in other.remarks
    other = oneway.compare(first, made("bits", change=set_to("attacks.information", {"refused": "because"})))
    assert any("information, bits at least" in line for line in other.remarks)
    assert figure(other, "bits").changes == [None, None]
    other = oneway.compare(first, made("torch", change=set_to("provenance.torch", "3.0")))
    assert "made by torch 2.12.0, 3.0, in that order: attackers may differ" in other.remarks


REFUSED = {"refused": "no test person appears twice"}
OTHER_CONTROL = "not compared: leakage and excess, which are shares of different controls"


def beside(victim: dict[str, Any] | None) -> Change:
    """Stand beside a control that gave no attacker anything who needs no judge, as a report says which one it was."""

    def change(results: dict[str, Any]) -> None:
        results["control"]["utility"] = None
        results["control"]["attacks"] |= {"linkage": REFUSED, "scatter": REFUSED}
        results["control"] |= {} if victim is None else {"victim": victim}

    return change


ONNX = {"onnx": "plain.onnx", "pixels": "0..1", "output": None, "hash": "a" * 64}
MODULE = {"module": "ResNet", "cut": "layer2", "hash": "c" * 64}


@pytest.mark.parametrize(
    ("victims", "one"),
    [
        ([ONNX, ONNX], True),
        ([ONNX, ONNX | {"onnx": "moved.onnx"}], True),
        ([ONNX, ONNX | {"hash": "b" * 64}], False),
        ([ONNX, ONNX | {"output": "second"}], False),
        ([ONNX, MODULE], False),
        ([MODULE, MODULE | {"cut": "layer3"}], False),
        ([None, None], True),
        ([None, ONNX], True),
        ([None, ONNX, ONNX | {"hash": "b" * 64}], False),
    ],
)
def test_shares_of_two_controls_are_not_compared_where_nobody_is_linked(
    made: Callable[..., Path], victims: list[dict[str, Any] | None], one: bool
) -> None:
    comparison = oneway.compare(*(made(f"audit{place}", change=beside(each)) for place, each in enumerate(victims)))
    assert any(item.name.startswith("leakage.") for item in comparison.figures) == one
    assert (OTHER_CONTROL in comparison.remarks) == (not one)


def test_a_judge_whose_file_was_renamed_is_compared_with_itself(made: Callable[..., Path]) -> None:
    """The second judge sees more of the new encoder, which a gate must find however its file is called there."""

    def judged(folder: str, level: float, *names: str) -> Path:
        def change(results: dict[str, Any]) -> None:
            for judge, said, name in zip(results["judges"], results["provenance"]["judges"], names, strict=True):
                judge["name"] = said["name"] = name
            seen = {"value": level, "low": level - 0.01, "high": level + 0.01, "n": 500, "unit": "cosine"}
            results["judges"][1]["pictures"]["picture_similarity"] = seen

        scores = {f"inversion picture_similarity by {names[1]}": np.full(len(PEOPLE), level)}
        return made(folder, change=change, **scores)

    first = judged("old", 0.4, "own", "other.onnx")
    same = oneway.compare(first, judged("new", 0.9, "own", "other.onnx"))
    seen = figure(same, "picture_similarity by other.onnx")
    assert seen.told(1) == "worse"
    assert seen.changes[1] is not None
    assert seen.changes[1].paired
    for number, names in enumerate((("own", "moved.onnx"), ("moved.onnx", "other.onnx"), ("other.onnx", "own"))):
        comparison = oneway.compare(first, judged(str(number), 0.9, *names))
        assert comparison.figures == same.figures, names
        assert comparison.remarks == same.remarks
        assert not comparison.passes()


def test_noise_is_no_excuse(made: Callable[..., Path]) -> None:
    """Who averages the answers of an encoder without noise gets what one answer gives."""

    def silent(results: dict[str, Any]) -> None:
        results["victim"]["noisy"] = False
        results["attacks"]["averaging"] = {"refused": "the encoder adds no noise"}

    compared = figure(oneway.compare(made("old", change=silent), made("new")), "picture_similarity averaging")
    before, after = compared.values
    assert before is not None
    assert after is not None
    assert before.value == audited()["judges"][0]["pictures"]["picture_similarity"]["value"]
    assert after.value == audited()["attacks"]["averaging"]["scores"]["picture_similarity"]["value"]


def test_a_gate_fails_where_a_figure_is_worse_and_not_within_its_margin(made: Callable[..., Path]) -> None:
    comparison = oneway.compare(made("old", 0.303), made("new"))
    assert [check.name for check in comparison.checks() if not check.passed] == [f"new: {LINKED}"]
    assert not comparison.passes()
    (check,) = (check for check in comparison.checks() if not check.passed)
    assert re.search(r"0\.303 .* -> 0\.403 .*, worse by 0\.100 \[0\.\d+, 0\.\d+\], margin 0", check.message)
    assert comparison.passes(0.1)
    assert comparison.passes({LINKED: 0.1})
    assert not comparison.passes({LINKED: 0.01})
    assert not comparison.passes({"": 0.1, LINKED: 0.0})
    assert not comparison.passes({"rank_1": 0.1})


def test_lower_is_worse_where_the_registry_says_so(made: Callable[..., Path]) -> None:
    better, worse = (
        set_to("attacks.inversion.scores.mse", {"value": v, "low": v, "high": v, "n": 9, "unit": "MSE"})
        for v in (0.03, 0.01)
    )
    comparison = oneway.compare(made("old", change=better), made("new", change=worse))
    assert figure(comparison, "mse").told(1) == "worse"
    assert not comparison.passes(0.5), "a mean squared error does not run to 1, so its margin is given by name"
    assert comparison.passes({"mse": 0.02})


def test_utility_fails_no_gate_of_privacy(made: Callable[..., Path]) -> None:
    low = {"value": 0.1, "low": 0.09, "high": 0.11, "n": 9, "unit": "MCC"}
    comparison = oneway.compare(made("old"), made("new", change=set_to("utility.value", low)))
    assert figure(comparison, "utility").told(1) == "worse"
    assert comparison.passes()
    assert comparison.count(1, "worse") == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_to("unconverged", [*LATE, "inversion mirror"]), "the attacker 'inversion mirror' was ended by its budget"),
        (set_to("guards.2.passed", False), "the guard 'features' does not hold, and does in the first"),
    ],
)
def test_who_was_tested_less_well_fails_the_gate(made: Callable[..., Path], change: Change, words: str) -> None:
    comparison = oneway.compare(made("old"), made("new", change=change))
    (check,) = (check for check in comparison.checks() if not check.passed)
    assert words in check.message
    assert "may give away more than this shows" in " ".join(str(comparison).split())
    turned = oneway.compare(made("first", change=change), made("then"))
    assert turned.passes(), "the first as tested less well says nothing against the second"


@pytest.mark.parametrize("given", ["much", "rank_1=", "=0.1", "rank_1=much"])
def test_a_margin_is_a_number_or_a_pair(given: str) -> None:
    with pytest.raises(InputError, match="--margin takes a number, or NAME=NUMBER for one figure, not"):
        read_margins([given])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("-0.1", "the margin must be 0 or more and finite, not -0.1"),
        ("rank_1=nan", "the margin of rank_1 must be 0 or more and finite, not nan"),
        ("rnk_1=0.1", "figure 'rnk_1' does not exist; did you mean 'rank_1'"),
    ],
)
def test_a_margin_is_of_a_figure_and_not_negative(given: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_margins([given])


def test_margins_are_read_by_name_and_the_last_counts() -> None:
    assert read_margins([]) == {"": 0.0}
    assert read_margins(["0.02", "psnr=0.5", "psnr=1"]) == {"": 0.02, "psnr": 1.0}


def test_the_command_says_what_is_worse_by_its_exit_code(
    made: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, page = made("old", 0.303), made("new"), tmp_path / "sub" / "page.html"
    cli.main(["compare", str(old), str(new), "--out", str(page)])
    assert f"page: {page}" in capsys.readouterr().out
    assert page.read_text().count("</table>") == 3
    with pytest.raises(SystemExit) as ended:
        cli.main(["compare", str(old), str(new), "--fail-if-worse"])
    assert ended.value.code == 3
    assert "FAILED: new: linked, TAR at FAR 1e-3" in capsys.readouterr().out
    cli.main(["compare", str(old), str(new), "--fail-if-worse", "--margin", "0.1"])
    assert re.search(r"passed: none of \d+ figures is worse\n$", capsys.readouterr().out)
    for wrong in (["--margin", "much"], ["--out", "."], ["--summary", str(tmp_path)]):
        with pytest.raises(SystemExit) as ended:
            cli.main(["compare", str(old), str(new), *wrong])
        assert ended.value.code == 2


def test_a_pull_request_is_told_what_is_worse(made: Callable[..., Path], tmp_path: Path) -> None:
    old, new, summary = made("old", 0.303), made("ne_w"), tmp_path / "s.md"
    with pytest.raises(SystemExit):
        cli.main(["compare", str(old), str(new), "--summary", str(summary), "--fail-if-worse"])
    text = summary.read_text()
    (row,) = (line for line in text.splitlines() if line.startswith("| linked, TAR at FAR 1e-3"))
    assert re.search(r"\| 30\.3.*\| 40\.3.*\| \*\*worse\*\* \+10\.0 points &#91;\+\d", row)
    assert "- **FAILED**: ne&#95;w: linked, TAR at FAR 1e-3" in text


def test_the_page_shows_every_figure_and_no_name_becomes_markup(made: Callable[..., Path]) -> None:
    name = "<script>alert(1)</script>"
    page = oneway.compare(made("old"), made("new", 0.303, change=set_to("victim.name", name))).to_html()
    assert name not in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "−10.0 points" in page
    assert page.count('class="change better"') == 1


def test_the_examples_of_the_docs_run(
    made: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "audits").mkdir()
    for name in ("last", "new", "other"):
        made(name).rename(tmp_path / "audits" / name)
    monkeypatch.chdir(tmp_path)
    commands, example = re.findall(r"^```\w*\n(.*?)^```", DOCS.read_text(), flags=re.DOTALL | re.MULTILINE)
    for line in commands.splitlines():
        _, *command = shlex.split(line, comments=True)
        cli.main(command)
    (tmp_path / "compare.html").unlink()
    capsys.readouterr()
    exec(compile(example, DOCS.name, "exec"), {})
    assert "linked, TAR at FAR 1e-3" in capsys.readouterr().out
    assert (tmp_path / "compare.html").stat().st_size > 10_000
