"""The paper's experiments: their rows, what agrees, shared runs, and the same tables after any number of kills."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import random
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.manifold import TSNE

import oneway
from conftest import AUDIT
from oneway import cli
from oneway.report.reports import read_report
from oneway.report.reproduction import reproduction
from oneway.report.sweeps import ExperimentReport, ExperimentRow
from oneway.reproduction import paper
from oneway.reproduction.config import PRESETS, ExperimentConfig
from oneway.reproduction.experiment import NAMES, PAGE, TEXT, experiment, plan
from oneway.storage import runs
from oneway.sweep import store
from oneway.sweep.store import Store
from oneway.sweep.timing import estimate
from test_page import CHROMIUM

pytestmark = pytest.mark.whole

Tiny = Callable[..., oneway.ProtectConfig]


def figure(value: float, unit: str = "cosine", half: float = 0.018) -> oneway.Estimate:
    return oneway.Estimate(value=value, low=value - half, high=value + half, n=812, unit=unit)


@pytest.fixture
def perceptual_file(resnet_file: Path) -> str:
    """A perceptual network, as `open_perceptual` takes it."""
    return f"resnet10t:{resnet_file}"


@pytest.fixture
def config(tiny: Tiny, perceptual_file: str) -> ExperimentConfig:
    return ExperimentConfig(
        protect=tiny({"steps": 6, "network.cut": "fc"}),
        audit=AUDIT,
        cuts=("layer2", "fc"),
        perceptual=(0.0, 10.0),
        strengths=(1.5,),
        perceptual_network=perceptual_file,
    )


def test_the_papers_tables_are_carried_whole() -> None:
    strength, tradeoff, layers = (paper.table(number) for number in (1, 2, 3))
    assert [row["id"] for row in strength] == [str(number) for number in range(1, 11)]
    assert [float(row["protector_perceptual_weight"]) for row in tradeoff] == [0, 1, 2, 3, 4, 5, 10]
    assert len(layers) == 12
    assert paper.figures(strength[0]) == {
        "mean_mcc": 0.641,
        "picture_similarity": 0.551,
        "feature_similarity": 0.835,
        "ssim": 0.231,
        "psnr": 13.738,
    }
    assert paper.figures(layers[-1])["lda_score"] == 1.49


@pytest.mark.parametrize(
    ("theirs", "ours", "verdict"),
    [
        ((0.5, 0.4), (figure(0.5, half=0.01), figure(0.3, half=0.01)), "agrees"),
        ((0.5, 0.4), (figure(0.3, half=0.01), figure(0.5, half=0.01)), "disagrees"),
        ((0.5, 0.4), (figure(0.5, half=0.1), figure(0.4, half=0.1)), "within the interval"),
        ((0.5, 0.5), (figure(0.5, half=0.1), figure(0.4, half=0.1)), "agrees"),
        ((0.5, 0.502), (figure(0.5, half=0.01), figure(0.3, half=0.01)), "disagrees"),
        ((0.5, 0.4), (figure(0.5, half=0.1), None), "not measured"),
    ],
)
def test_a_change_is_judged_by_its_direction_and_interval(
    theirs: tuple[float, float], ours: tuple[Any, Any], verdict: str
) -> None:
    rows = {
        name: ExperimentRow(
            id=name, title=name, protection="paper", at=None, paper={"ssim": value}, scores={"ssim": estimate}, run="r"
        )
        for name, value, estimate in zip(("a", "b"), theirs, ours, strict=True)
    }
    judged = paper.judge(paper.Effect(claim="c", metric="ssim", before="a", after="b"), rows)
    assert judged.verdict == verdict
    assert judged.paper == pytest.approx(theirs[1] - theirs[0])
    if ours[1] is not None:
        assert judged.ours.value == pytest.approx(ours[1].value - ours[0].value)
        assert judged.ours.low < judged.ours.value < judged.ours.high
    else:
        assert judged.ours is None


def test_each_experiment_has_the_papers_rows_and_the_recommended_recipe_beside_them(
    config: ExperimentConfig, pack: oneway.Pack, people: oneway.Pack
) -> None:
    config = replace(config, cuts=ExperimentConfig().cuts, perceptual=ExperimentConfig().perceptual)
    planned = plan(NAMES, config, pack.path, people.path)
    ids = [line.id for line in planned["strength"]]
    assert [name for name in ids if "recommended" not in name] == [str(number) for number in range(1, 11)]
    assert [name for name in ids if "recommended" in name] == [f"{number} recommended" for number in (2, 4, 6, 8, 10)]
    weights = ["0", "1", "2", "3", "4", "5", "10"]
    assert [line.id for line in planned["tradeoff"] if line.paper] == [*weights, *(f"bounded {w}" for w in weights)]
    assert len(planned["layers"]) == 18
    assert sum(bool(line.paper) for line in planned["layers"]) == 18
    assert len(planned["tsne"]) == 6
    for lines in planned.values():
        for line in lines:
            game, network = line.setting.protect.game, line.setting.protect.network
            sent = network.noise, network.bottleneck
            assert line.setting.protect.protects == (line.protection != "none") == (line.setting.control is not None)
            if line.protection == "paper":
                assert (game.target, game.decoder_steps, game.warmup, *sent) == ("away", 1, 0.0, 0.0, 0)
            if line.protection == "bounded":
                assert (game.target, game.decoder_steps, game.warmup, *sent) == ("mean_picture", 1, 0.25, 0.0, 0)
                assert (game.pixel, game.perceptual) == (1.0, line.at)
            if line.protection == "recommended":
                assert not game.played
                assert sent == (line.at if line in planned["tradeoff"] else 1.5, 128)
    strength = {line.id: line.setting for line in planned["strength"]}
    assert strength["7"] == strength["5"], "there are no labels to train an unprotected encoder further with"
    assert strength["8"].run != strength["6"].run
    assert strength["8"].control == strength["7"]
    without = [line.id for line in plan(("strength",), config, pack.path, None)["strength"]]
    assert without == [name for name in ids if name.split()[0] not in ("5", "6", "7", "8")]


def test_runs_that_experiments_share_are_the_same(config: ExperimentConfig, pack: oneway.Pack) -> None:
    planned = plan(NAMES, config, pack.path, None)
    made = {name: {line.setting.run for line in lines} for name, lines in planned.items()}
    assert made["tsne"] == made["strength"]
    assert {line.setting.run for line in planned["layers"] if line.at == "fc"} <= made["strength"]
    assert len(made["tradeoff"] & made["strength"]) == 3
    reports = [line.setting.report for line in planned["strength"]]
    assert len(set(reports)) == 6, "rows 1 and 3 are one audit, with two attackers"


def test_every_preset_plans_every_experiment(pack: oneway.Pack, perceptual_file: str) -> None:
    for name, preset in PRESETS.items():
        made = replace(preset(), perceptual_network=perceptual_file)
        planned = plan(NAMES, made, pack.path, pack.path)
        assert sum(map(len, planned.values())) > 40
        assert preset().perceptual_network == ("vgg16" if name == "paper" else None)


def test_what_cannot_be_run_is_said_before_anything_is_written(
    config: ExperimentConfig, people: oneway.Pack, tmp_path: Path
) -> None:
    blind = replace(config, perceptual_network=None)
    with pytest.raises(oneway.InputError, match="--perceptual-network vgg16"):
        experiment(("strength", "tradeoff"), people, tmp_path / "out", blind, progress=False)
    with pytest.raises(oneway.InputError, match="strenght"):
        experiment(("strenght",), people, tmp_path / "out", config, progress=False)
    assert not (tmp_path / "out").exists()
    with pytest.raises(oneway.InputError, match="begin with 0"):
        ExperimentConfig(perceptual=(1.0,))
    with pytest.raises(oneway.InputError, match="two attributes"):
        ExperimentConfig(shown=("Smiling",))


def tables(out: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Everything that an experiment found, without where and when."""
    found: dict[str, Any] = {TEXT: (out / TEXT).read_text()}
    for name in names:
        results = json.loads((out / name / "results.json").read_text())
        found[name] = (results["rows"], results["effects"], (out / name / "table.csv").read_text())
    return found


@pytest.mark.slow
def test_ten_kills_at_random_change_no_table(
    config: ExperimentConfig, people: oneway.Pack, other_pack: oneway.Pack, people_judge: Path, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"verifier": people_judge, "progress": False}
    experiment(NAMES, people, tmp_path / "straight", config, **given)
    # In a process of its own, which can be killed anywhere.
    script = tmp_path / "run.py"
    script.write_text(
        "import pickle, sys\nfrom pathlib import Path\nimport oneway\n"
        "from oneway.reproduction.experiment import NAMES, experiment\n"
        "config = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "experiment(NAMES, oneway.Pack.open(sys.argv[2]), Path(sys.argv[3]), config, verifier=Path(sys.argv[4]),"
        " resume=True, progress=False)\n"
    )
    import pickle
    import sys

    (tmp_path / "config.pickle").write_bytes(pickle.dumps(config))
    command = [sys.executable, script, tmp_path / "config.pickle", people.path, tmp_path / "killed", people_judge]
    draw, kills = random.Random(0), 0
    while kills < 10:
        process = subprocess.Popen(list(map(str, command)))
        try:
            process.wait(timeout=draw.uniform(4, 25))
            break  # it ended before it was killed
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    assert kills == 10
    subprocess.run(list(map(str, command)), check=True)
    assert tables(tmp_path / "straight", NAMES) == tables(tmp_path / "killed", NAMES)


def test_an_interrupted_tradeoff_goes_on_to_a_page_whose_slider_moves(
    config: ExperimentConfig, people: oneway.Pack, people_judge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sklearn.manifold.TSNE", partial(TSNE, max_iter=250))  # the least that it takes
    names, given = ("tradeoff", "tsne"), {"verifier": people_judge, "progress": False}
    protect, count = store.protect, 0

    def stopped(*args: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return protect(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(store, "protect", stopped)
        with pytest.raises(KeyboardInterrupt):
            experiment(names, people, tmp_path / "out", config, **given)
    with pytest.raises(oneway.InputError, match="--resume"):
        experiment(names, people, tmp_path / "out", config, **given)
    found = experiment(names, people, tmp_path / "out", config, resume=True, **given)
    assert not (tmp_path / "out" / "strength").exists()

    for name in names:
        written = read_report(tmp_path / "out" / name, ExperimentReport, "oneway experiment")
        assert written == found[name], "the file holds what the call returns"
    rows = found["tradeoff"].rows
    assert [row.id for row in rows] == ["unprotected", "0", "10", "bounded 0", "bounded 10", "recommended 1.5"]
    with (tmp_path / "out" / "tradeoff" / "table.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["mean_mcc"]) for line in lines] == [row.scores["mean_mcc"].value for row in rows]
    assert [line["mean_mcc paper"] for line in lines] == ["", "0.631", "0.0", "0.631", "0.0", ""]
    for name in ("tradeoff", "tsne"):
        assert Image.open(tmp_path / "out" / name / "picture.png").size[0] > 600
    for row in found["tsne"].rows:
        assert 0 <= row.scores["accuracy.Smiling"].value <= 1
        with np.load(tmp_path / "out" / "tsne" / row.map) as stored:
            assert stored["places"].shape == stored["labels"].shape == (len(people.test), 2)
    text = (tmp_path / "out" / TEXT).read_text()
    assert text == reproduction(found)
    assert "paper 0.631" in text

    html = (tmp_path / "out" / PAGE).read_text()
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", html), "the page asks for something outside of itself"
    if CHROMIUM is not None:
        seen = [slider_at(html, place, tmp_path) for place in range(len(rows))]
        assert [told["title"] for told in seen] == [row.title for row in rows]
        first, last = seen[0], seen[-1]
        assert first["strip"] != last["strip"]
        assert f"{rows[-1].scores['mean_mcc'].value:.3f}".replace("-", "\N{MINUS SIGN}") in last["figures"]
        for told, row in ((first, rows[0]), (last, rows[-1])):
            assert float(told["point"].split(",")[0]) >= 0, "the point is not on the plot"
            assert f'cx="{float(told["point"].split(",")[0])}"' in html, row.id
        assert first["point"] != last["point"]


def slider_at(html: str, place: int, folder: Path) -> dict[str, str]:
    """Open the page in a browser, move its slider to a place, and read what stands there then."""
    moving = (
        f"weight.value = {place}; weight.dispatchEvent(new Event('input'));"
        "document.body.dataset.seen = JSON.stringify({title: document.getElementById('title').textContent,"
        "strip: document.getElementById('drawn').src, figures: document.getElementById('figures').textContent,"
        "point: ['cx', 'cy'].map(side => document.getElementById('here').getAttribute(side)).join()});"
        "document.body.textContent = '';"
    )
    allowed = base64.b64encode(hashlib.sha256(moving.encode()).digest()).decode()
    html = html.replace("script-src ", f"script-src 'sha256-{allowed}' ")  # the page's own runs by its own hash
    page = folder / "moved.html"
    page.write_text(html.replace("</body>", f"<script>{moving}</script></body>"))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"file://{page}"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60, check=True)
    seen = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert seen is not None, done.stdout[:500]
    told: dict[str, str] = json.loads(seen[1].replace("&quot;", '"').replace("&amp;", "&"))
    return told


def test_a_plan_is_timed_and_what_is_made_is_not_counted(
    config: ExperimentConfig, people: oneway.Pack, people_judge: Path, tmp_path: Path
) -> None:
    settings = [line.setting for line in plan(("tradeoff",), config, people.path, None)["tradeoff"]][:2]
    store = Store(path=tmp_path, pack=people.path, verifiers=(people_judge,))
    expected = estimate(settings, store)
    assert (expected.runs, expected.audits) == (2, 2)
    assert expected.seconds > 0
    longer = estimate([replace(each, audit=replace(each.audit, steps=1000), control=None) for each in settings], store)
    assert longer.seconds > 2 * expected.seconds
    (store.run(settings[0])).mkdir(parents=True)
    runs.write_json(store.run(settings[0]) / runs.RESULTS, {})
    found = estimate(settings, store, audits=False)
    assert (found.runs, found.audits) == (1, 0)


def test_a_dry_run_lists_before_it_needs_a_network(
    people: oneway.Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(SystemExit) as ended:
        cli.main(
            ["experiment", "tradeoff", str(people.path), "--perceptual-network", "gone", "--out", out, "--dry-run"]
        )
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert "tradeoff  " in said.out
    assert "gone" in said.err
    assert not (tmp_path / "out").exists()


def test_settings_that_need_one_another_are_never_made_at_once(config: ExperimentConfig, pack: oneway.Pack) -> None:
    lines = [line for group in plan(NAMES, config, pack.path, None).values() for line in group]
    wanted = list({line.setting.report: line.setting for line in lines}.values())
    stages = store._stages(wanted)
    assert sum(map(len, stages)) == len(wanted)
    for stage in stages:
        assert len({setting.run for setting in stage}) == len(stage), "two processes would train one run"
    places = {setting.report: place for place, stage in enumerate(stages) for setting in stage}
    for setting in wanted:
        if setting.control is not None and setting.control.report in places:
            assert places[setting.control.report] < places[setting.report]
    assert all(earlier for earlier, _ in pairwise(stages))
