"""Names that come from data run no script, fetch nothing and break no table, on any page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from oneway.metrics.estimate import Estimate
from oneway.report.experiments import write_experiments
from oneway.report.reproduction import reproduction
from oneway.report.sweeps import Change, EffectReport, ExperimentReport, ExperimentRow
from test_page import CHROMIUM

pytestmark = pytest.mark.whole

EVIL = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
MARKED = "a|b [x](javascript:alert(1)) `c` *d* <b>e</b>\n| f ![y](http://evil/z.png)"


def row(name: str, title: str) -> ExperimentRow:
    figure = Estimate(value=0.5, low=0.4, high=0.6, n=9, unit="")
    scores = dict.fromkeys(("mean_mcc", "picture_similarity", "feature_similarity", f"accuracy.{title}"), figure)
    return ExperimentRow(id=name, title=title, protection="paper", at=None, paper={}, scores=scores, run="run")


def reports(title: str) -> dict[str, ExperimentReport]:
    effect = EffectReport(
        claim=title,
        metric="mean_mcc",
        before=title,
        after="2",
        paper=0.1,
        ours=Change(value=0.1, low=0.0, high=0.2),
        verdict="agrees",
    )
    rows = [row("1", title), row("2", title)]
    return {"tradeoff": ExperimentReport(experiment="tradeoff", rows=rows, effects=[effect], provenance={})}


def page(path: Path, title: str) -> str:
    drawn = np.zeros((2, 16, 16, 3), dtype=np.uint8)
    pictures = {"original": {"original": drawn}, "tradeoff": {"1": drawn, "2": drawn + 9}}
    write_experiments(reports(title), pictures, path)
    return path.read_text(encoding="utf-8")


def test_the_experiments_run_one_script_of_ours_and_forbid_every_other(tmp_path: Path) -> None:
    text = page(tmp_path / "page.html", EVIL)
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", text, re.DOTALL)
    assert [kind for kind, _ in scripts] == [' type="application/json" id="slides"', ""]
    assert [slide["title"] for slide in json.loads(scripts[0][1])] == [EVIL] * 2
    allowed = base64.b64encode(hashlib.sha256(scripts[1][1].encode()).digest()).decode()
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
    assert policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    )
    assert "<img src=x" not in text
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium or chrome on the PATH to render the page in")
def test_the_slider_is_set_up_by_a_browser_and_no_foreign_script_runs(tmp_path: Path) -> None:
    text = page(tmp_path / "page.html", "ours")
    foreign = (
        "<script>document.title='taken'</script><img src='http://127.0.0.1:9/x.png' onerror=\"document.title='2'\">"
    )
    set_up = text.replace('<b id="title">ours</b>', '<b id="title">not yet</b>')
    assert set_up != text
    (tmp_path / "page.html").write_text(set_up.replace("</body>", f"{foreign}</body>"))
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        f"file://{tmp_path}/page.html",
    ]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert '<b id="title">ours</b>' in seen
    assert "<title>The paper's experiments</title>" in seen


def test_the_text_of_the_experiments_shows_names_as_they_are() -> None:
    text = reproduction(reports(MARKED))
    plain = reproduction(reports("name"))
    assert len(text.splitlines()) == len(plain.splitlines())
    for ours, theirs in zip(text.splitlines(), plain.splitlines(), strict=True):
        bare = re.sub(r"\\.", "", ours)
        assert bare.count("|") == theirs.count("|")
        assert not set("<[]`*") & set(re.sub(r"\[-?\+?\d.*?\]", "", bare))
    assert "&lt;b&gt;e&lt;/b&gt;" in text
    assert r"\[x\](javascript:alert(1))" in text
