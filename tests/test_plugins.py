"""What another package adds is found: in an audit, its report, the table, the page, the limits and messages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import oneway
from conftest import RUNTIME
from oneway.config import to_dict
from oneway.errors import InputError
from oneway.plugins import entries

EXAMPLE = Path(__file__).parent / "example"
POINTS = """[oneway.attacks]
frugal = oneway_example:ATTACKER
[oneway.metrics]
brightness = oneway_example:METRIC
"""
AUDIT = """
import json, sys
import oneway
from oneway.config import override
from oneway.models.onnx import OnnxEncoder
from oneway.report.limits import limited
from oneway.console import as_text
from oneway.report.table import audit_table

pack, onnx, out, settings = sys.argv[1:]
config = override(oneway.AuditConfig(), json.loads(settings))
report = oneway.audit(onnx, data=pack, out=out, config=config, progress=False)
print(json.dumps({
    "ways": list(report.attacks["inversion"].ways),
    "scores": list(report.attacks["inversion"].scores),
    "untested": report.untested,
    "table": as_text(audit_table(report)),
    "limited": list(limited()),
}))
"""


def installed(folder: Path, points: str) -> dict[str, str]:
    """The environment of a process in which a package with such entry points is installed."""
    about = folder / "oneway_example-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: oneway-example\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(points)
    paths = [str(folder), str(EXAMPLE), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@pytest.mark.whole
def test_an_attacker_and_a_metric_of_another_package_are_in_the_audit_its_table_and_its_page(
    people: oneway.Pack, tmp_path: Path
) -> None:
    import torch

    from test_onnx_encoder import export

    encoder = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 3))
    path = export(encoder.eval(), tmp_path / "encoder.onnx")
    runtime = {f"runtime.{name}": value for name, value in to_dict(RUNTIME).items() if name in ("device", "precision")}
    settings = {"attackers": "frugal", "brief": "true", "pixels": "0..1", "steps": "2", **runtime}
    done = subprocess.run(
        [sys.executable, "-c", AUDIT, people.path, path, tmp_path / "audit", json.dumps(settings)],
        env=installed(tmp_path, POINTS),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["ways"] == ["linear", "frugal"]
    assert "brightness" in found["scores"]
    assert "brightness off by ↑" in found["table"]
    assert "brightness" not in found["limited"], "more of it is safer"
    assert "the inversion attacker 'mirror'" in found["untested"]
    page = (tmp_path / "audit" / "report.html").read_text(encoding="utf-8")
    assert "frugal" in page
    assert "brightness off by\u00a0↑" in page
    results = json.loads((tmp_path / "audit" / "results.json").read_text())
    assert set(results["attacks"]["inversion"]["ways"]["frugal"]["scores"]) > {"mse", "brightness"}


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (
            "[oneway.metrics]\nx = no_such_module:X\n",
            "entry point 'x' (no_such_module:X) of group oneway.metrics cannot",
        ),
        ("[oneway.metrics]\nx = os:sep\n", "must be a Metric, not '/'"),
        ("[oneway.metrics]\nx = os:absent\n", "cannot be loaded (AttributeError"),
    ],
)
def test_an_entry_point_that_is_none_is_named(
    points: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from oneway.metrics.registry import Metric

    installed(tmp_path, points)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError) as refused:
        entries("oneway.metrics", Metric)
    assert message in str(refused.value)
