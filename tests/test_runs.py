from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import AdamW, Optimizer

from oneway.attacks.inversion import InversionConfig
from oneway.auditing.config import AuditConfig
from oneway.config import from_dict, override, to_dict
from oneway.errors import InputError
from oneway.models.encoder import EncoderConfig
from oneway.protection.config import ProtectConfig
from oneway.storage import runs
from oneway.storage.atomic import whole
from oneway.storage.claims import claim

pytestmark = pytest.mark.whole


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def begin(path: Path, error: BaseException) -> None:
    """Write half of a file, and fail."""
    with whole(path) as partial:
        partial.write_text("half")
        raise error


# ---- whole files


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    with whole(path) as partial:
        partial.write_text("half")
        assert not path.exists()
        assert partial.parent == path.parent
        partial.write_text("whole")
    assert path.read_text() == "whole"
    assert names_in(path.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, InputError])
def test_an_interruption_leaves_nothing_new_and_nothing_lost(tmp_path: Path, error: type[BaseException]) -> None:
    for before in (None, "old"):
        path = tmp_path / f"{before}.txt"
        if before is not None:
            path.write_text(before)
        with pytest.raises(error):
            begin(path, error("stopped"))
        assert path.exists() is (before is not None)
    assert names_in(tmp_path) == ["old.txt"]
    assert (tmp_path / "old.txt").read_text() == "old"


def test_a_kill_in_the_midst_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    runs.write_json(path, {"step": 1})
    code = f"""
import os, pathlib
from oneway.storage.atomic import whole
with whole(pathlib.Path({str(path)!r})) as partial:
    partial.write_text('{{"step": 2, "half')
    os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    assert runs.read_json(path) == {"step": 1}
    runs.write_json(path, {"step": 3})
    assert runs.read_json(path) == {"step": 3}


def test_a_full_disk_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with pytest.raises(InputError, match=rf"cannot write {path}: No space left on device; free some space"):
        begin(path, OSError(28, os.strerror(28)))
    assert names_in(tmp_path) == []


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InputError, match=r"cannot write .*taken"):
        runs.write_json(tmp_path / "taken" / "file.json", {})
    assert (tmp_path / "taken").read_text() == "a file"


# ---- JSON and tensors

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(content=st.dictionaries(st.text(), VALUES, max_size=4))
def test_json_comes_back(tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.json"
    runs.write_json(path, content)
    assert runs.read_json(path) == content
    assert json.loads(path.read_text()) == content


def test_numbers_that_json_lacks_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        runs.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("content", ['{"half": ', "[1, 2]", "\x80"])
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"a\.json (cannot be read as JSON|holds list, not an object).*made again"):
        runs.read_json(path)
    with pytest.raises(InputError, match=r"absent\.json does not exist; give the folder of a finished run"):
        runs.read_json(tmp_path / "absent.json")


def test_tensors_come_back_to_the_bit_with_what_is_said_of_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = {
        "weight": torch.randn(3, 4, 5, 5).to(memory_format=torch.channels_last),
        "half": torch.randn(7).bfloat16(),
        "count": torch.tensor(12),
        "turned": torch.randn(3, 5).T,
        "empty": torch.zeros(0, 3),
        "learned": torch.randn(2, requires_grad=True),
    }
    runs.write_tensors(tmp_path / "a.safetensors", tensors, {"steps": 5, "name": "é"})
    found, about = runs.read_tensors(tmp_path / "a.safetensors")
    assert about == {"steps": 5, "name": "é"}
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
        assert not found[name].requires_grad


def test_a_file_that_holds_no_tensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent does not exist"):
        runs.read_tensors(tmp_path / "absent")
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(InputError, match=r"text is not a readable safetensors file"):
        runs.read_tensors(tmp_path / "text")
    runs.write_tensors(tmp_path / "half", {"weight": torch.zeros(100)})
    (tmp_path / "half").write_bytes((tmp_path / "half").read_bytes()[:200])
    with pytest.raises(InputError, match=r"half is not a readable safetensors file"):
        runs.read_tensors(tmp_path / "half")


# ---- checkpoints


def player(*, channels_last: bool, fused: bool) -> tuple[nn.Module, Optimizer]:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8 * 16, 4)
    )
    if channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network, AdamW(network.parameters(), lr=0.01, weight_decay=0.05, fused=fused)


def train(network: nn.Module, optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        pictures = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        loss = network(pictures).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_training_goes_on_to_the_same_bits_after_an_interruption(
    tmp_path: Path, channels_last: bool, fused: bool
) -> None:
    straight, optimizer = player(channels_last=channels_last, fused=fused)
    train(straight, optimizer, range(10))

    stopped = player(channels_last=channels_last, fused=fused)
    train(*stopped, range(4))
    other, _ = player(channels_last=False, fused=False)
    runs.save(tmp_path / "checkpoint", {"net": stopped, "other": (other, None)}, {"step": 4})

    resumed = player(channels_last=channels_last, fused=fused)
    train(*resumed, range(50, 53))  # whatever it was before
    fresh, _ = player(channels_last=False, fused=False)
    nn.init.zeros_(fresh[0].weight)  # type: ignore[index]
    about = runs.restore(tmp_path / "checkpoint", {"net": resumed, "other": (fresh, None)})
    assert about == {"step": 4}
    assert torch.equal(fresh[0].weight, other[0].weight)  # type: ignore[index]
    train(*resumed, range(4, 10))
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed[0].state_dict()[name], value), name


def test_a_checkpoint_without_the_moments_would_not_do() -> None:
    """What the test above rests on: two steps of AdamW differ where its state does."""
    straight, optimizer = player(channels_last=False, fused=False)
    train(straight, optimizer, range(5))
    forgetful, first = player(channels_last=False, fused=False)
    train(forgetful, first, range(4))
    train(forgetful, AdamW(forgetful.parameters(), lr=0.01, weight_decay=0.05), range(4, 5))
    assert not torch.equal(straight.state_dict()["0.weight"], forgetful.state_dict()["0.weight"])


def test_names_that_begin_alike_are_kept_apart(tmp_path: Path) -> None:
    networks = {name: player(channels_last=False, fused=False) for name in ("net", "net2")}
    train(*networks["net2"], range(3))
    runs.save(tmp_path / "checkpoint", networks, {})
    restored = {name: player(channels_last=False, fused=False) for name in ("net", "net2")}
    runs.restore(tmp_path / "checkpoint", restored)
    for name, (network, optimizer) in networks.items():
        assert torch.equal(restored[name][0].state_dict()["0.weight"], network.state_dict()["0.weight"])
        assert len(restored[name][1].state_dict()["state"]) == len(optimizer.state_dict()["state"])


# ---- configurations


@pytest.mark.parametrize(
    "config",
    [
        EncoderConfig(cut="layer2", weights="imagenet"),
        InversionConfig(width=1.0, seed=3),
        ProtectConfig(task=("Smiling", "Male"), steps=5),
    ],
)
def test_a_configuration_survives_json(config: Any) -> None:
    content = json.loads(json.dumps(to_dict(config)))
    assert from_dict(type(config), content) == config


# ---- the folder of a run

ASKED = {"protect": {"steps": 5, "task": ("a",), "runtime": {"device": "cpu"}}, "data": {"hash": "0"}}


def asked(**changes: Any) -> dict[str, Any]:
    return {"protect": ASKED["protect"] | changes, "data": ASKED["data"]}


def claimed(folder: Path, config: dict[str, Any], *, resume: bool) -> bool:
    """Claim a folder and leave it, as a process does that is killed at once."""
    with claim(folder, config, resume=resume) as continued:
        return continued


def test_a_new_or_empty_folder_is_claimed(tmp_path: Path) -> None:
    for folder in (tmp_path / "deep" / "run", tmp_path / "empty"):
        if folder.name == "empty":
            folder.mkdir()
        assert claimed(folder, ASKED, resume=False) is False
        assert names_in(folder) == [runs.CONFIG]
        assert runs.read_json(folder / runs.CONFIG) == json.loads(json.dumps(ASKED))


def test_to_resume_what_was_not_begun_is_to_begin(tmp_path: Path) -> None:
    assert claimed(tmp_path / "run", ASKED, resume=True) is False


def test_an_unfinished_run_is_continued_when_asked_for(tmp_path: Path) -> None:
    claimed(tmp_path / "run", ASKED, resume=False)
    with pytest.raises(InputError, match="holds an unfinished run; add --resume to continue it"):
        claimed(tmp_path / "run", ASKED, resume=False)
    assert claimed(tmp_path / "run", ASKED, resume=True) is True


def test_a_finished_run_is_not_touched(tmp_path: Path) -> None:
    claimed(tmp_path / "run", ASKED, resume=False)
    runs.write_json(tmp_path / "run" / runs.RESULTS, {})
    for resume in (False, True):
        with pytest.raises(InputError, match="holds a finished run; choose another --out"):
            claimed(tmp_path / "run", ASKED, resume=resume)


def test_a_run_of_another_configuration_is_not_continued(tmp_path: Path) -> None:
    claimed(tmp_path / "run", ASKED, resume=False)
    before = (tmp_path / "run" / runs.CONFIG).read_text()
    with pytest.raises(InputError, match=r"was started with protect\.steps = 5, not 6; resume with the options"):
        claimed(tmp_path / "run", asked(steps=6), resume=True)
    with pytest.raises(InputError, match=r"protect\.task = \['a'\], not \['a', 'b'\]"):
        claimed(tmp_path / "run", asked(task=("a", "b")), resume=True)
    assert (tmp_path / "run" / runs.CONFIG).read_text() == before


def test_a_run_may_be_continued_on_another_machine(tmp_path: Path) -> None:
    claimed(tmp_path / "run", ASKED, resume=False)
    assert claimed(tmp_path / "run", asked(runtime={"device": "cuda"}), resume=True) is True


def test_a_folder_of_other_things_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("mine")
    for resume in (False, True):
        with pytest.raises(InputError, match="exists and is not a run of ours; choose another --out"):
            claimed(tmp_path, ASKED, resume=resume)
    assert names_in(tmp_path) == ["photo.jpg"]


def test_a_file_is_no_folder_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(InputError, match="notes"):
        claimed(tmp_path / "notes", ASKED, resume=False)
    assert (tmp_path / "notes").read_text() == "mine"


def test_provenance_says_what_made_a_result() -> None:
    said = json.loads(json.dumps(runs.provenance(seed=3)))
    assert said["torch"] == torch.__version__
    assert said["python"] == ".".join(map(str, sys.version_info[:3]))
    assert said["seed"] == 3
    assert {"oneway", "torchvision", "machine", "created"} <= set(said)
    assert said["created"].endswith("+00:00")


def test_a_list_of_numbers_is_read_as_numbers() -> None:
    config = override(AuditConfig(), {"queries": "100,300", "attackers": "mirror,gan"})
    assert config.queries == (100, 300)
    assert config.attackers == ("mirror", "gan")
    with pytest.raises(InputError, match="queries must be a whole number, not 'many'"):
        override(AuditConfig(), {"queries": "100,many"})
