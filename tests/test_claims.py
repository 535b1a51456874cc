"""Who may write into a folder: one process at a time, and a refused run leaves nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from oneway.errors import DivergedError, InputError
from oneway.storage import runs
from oneway.storage.atomic import hold
from oneway.storage.claims import check_claim, claim

pytestmark = pytest.mark.whole

ASKED: dict[str, Any] = {"protect": {"steps": 5}, "data": {"path": "/here/faces", "hash": "0"}}
HOLDS = """
import pathlib, sys, time
from oneway.storage.atomic import hold
with hold(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def refuse(folder: Path, error: Exception, *, kept: str | None = None, resume: bool = False) -> None:
    """Claim a folder, write a log and perhaps what can be continued, and fail."""

    def work() -> None:
        with claim(folder, ASKED, resume=resume):
            (folder / "tensorboard").mkdir(exist_ok=True)
            (folder / "tensorboard" / "events").write_text("one")
            if kept is not None:
                (folder / "parts").mkdir()
                (folder / "parts" / kept).write_text("hours of work")
            raise error

    with pytest.raises(type(error)):
        work()


@pytest.mark.parametrize("error", [InputError("a wrong cut"), DivergedError("at step 3")])
def test_a_refused_run_leaves_nothing_and_its_correction_is_taken(tmp_path: Path, error: Exception) -> None:
    (tmp_path / "given").mkdir()
    for folder in (tmp_path / "new" / "deep", tmp_path / "given"):
        refuse(folder, error)
        with claim(folder, ASKED | {"protect": {"steps": 6}}, resume=False) as continued:
            assert continued is False
        (folder / runs.CONFIG).unlink()
    refuse(tmp_path / "given", error)
    assert list((tmp_path / "given").iterdir()) == []
    refuse(tmp_path / "absent" / "run", error)
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (InputError("cannot write: No space left"), "mirror.npz"),
        (DivergedError("at step 300"), "checkpoint.safetensors"),
        (RuntimeError("a bug"), None),
    ],
)
def test_what_can_be_continued_or_explained_is_kept(tmp_path: Path, error: Exception, kept: str | None) -> None:
    refuse(tmp_path / "run", error, kept=kept)
    assert (tmp_path / "run" / runs.CONFIG).exists()
    assert kept is None or (tmp_path / "run" / "parts" / kept).read_text() == "hours of work"


def test_a_refused_resumption_takes_nothing_away(tmp_path: Path) -> None:
    with claim(tmp_path / "run", ASKED, resume=False):
        pass
    refuse(tmp_path / "run", InputError("the verifier is gone"), resume=True)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [runs.CONFIG, "tensorboard"]


def test_the_same_data_by_another_path_is_the_same_run(tmp_path: Path) -> None:
    with claim(tmp_path / "run", ASKED, resume=False):
        pass
    moved = ASKED | {"data": {"path": "../there", "hash": "0"}}
    with claim(tmp_path / "run", moved, resume=True) as continued:
        assert continued is True
    other = ASKED | {"data": {"path": "/here/faces", "hash": "1"}}
    with (
        pytest.raises(InputError, match=r"was started with data\.hash = '0', not '1'"),
        claim(tmp_path / "run", other, resume=True),
    ):
        pass


A, B, OTHER = ({"name": name, "fingerprint": name * 64} for name in "abc")


@pytest.mark.parametrize(
    ("judges", "message"),
    [
        ([OTHER | {"name": "a"}, B], rf"judges\.1\.fingerprint = '{'a' * 64}', not '{'c' * 64}'"),
        ([B, A], r"judges\.1\.fingerprint"),
        ([A], rf"judges\.2\.fingerprint = '{'b' * 64}', not None"),
        ([A, B, OTHER], r"judges\.3\.fingerprint = None, not"),
        ([], "judges"),
    ],
    ids=["another of the same name", "another order", "one less", "one more", "none"],
)
def test_an_audit_goes_on_with_the_judges_it_was_begun_with(
    tmp_path: Path, judges: list[dict[str, str]], message: str
) -> None:
    with claim(tmp_path / "run", ASKED | {"judges": [A, B]}, resume=False):
        pass
    with (
        pytest.raises(InputError, match=rf"was started with {message}"),
        claim(tmp_path / "run", ASKED | {"judges": judges}, resume=True),
    ):
        pass
    renamed = [A | {"name": "moved.onnx"}, B]
    with claim(tmp_path / "run", ASKED | {"judges": renamed}, resume=True) as continued:
        assert continued is True


@pytest.mark.parametrize(
    ("held", "message"), [({}, "have no schema, and .* have schema 3: finish"), ({"schema": 2}, "have schema 2, and")]
)
def test_what_another_version_began_is_not_gone_on_with_and_that_is_said_first(
    tmp_path: Path, held: dict[str, int], message: str
) -> None:
    with claim(tmp_path / "run", held | ASKED, resume=False):
        pass
    for asked in (ASKED, ASKED | {"protect": {"steps": 6}}):
        with (
            pytest.raises(InputError, match=rf"was started by a version of oneway whose results {message}"),
            claim(tmp_path / "run", asked | {"schema": 3}, resume=True),
        ):
            pass


def test_two_processes_on_one_folder_are_one_clear_error_and_death_releases_it(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        for resume in (False, True):
            with pytest.raises(InputError, match=r"run is being written by another process; wait for its end"):
                check_claim(folder, resume=resume)
            with (
                pytest.raises(InputError, match="is being written by another process"),
                claim(folder, ASKED, resume=resume),
            ):
                pass
        assert list(folder.iterdir()) == []
    finally:
        process.kill()
        process.communicate()
    with claim(folder, ASKED, resume=False) as continued:
        assert continued is False


def test_a_file_system_without_locks_is_used_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(descriptor: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unable)
    with hold(tmp_path / "run"), hold(tmp_path / "run"):
        pass


def test_to_look_whether_a_folder_is_free_leaves_nothing(tmp_path: Path) -> None:
    check_claim(tmp_path / "new" / "run", resume=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="is not a run of ours"):
        check_claim(tmp_path, resume=False)
    with pytest.raises(InputError, match="is a file"):
        check_claim(tmp_path / "thesis.tex", resume=False)
    with pytest.raises(InputError, match=r"cannot write .*choose another"):
        check_claim(tmp_path / "thesis.tex" / "run", resume=False)


def test_a_folder_that_takes_no_file_is_refused_by_trying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(dir: Path) -> None:
        raise OSError(30, "Read-only file system", str(dir))

    monkeypatch.setattr("tempfile.TemporaryFile", unable)
    with pytest.raises(InputError, match=r"cannot write in .*run: Read-only file system; choose another folder"):
        check_claim(tmp_path / "new" / "run", resume=False)
    assert list(tmp_path.iterdir()) == []
