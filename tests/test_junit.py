from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneway.errors import InputError
from oneway.report.junit import Check, write_junit

CHECKS = [
    Check(name="picture_similarity", passed=False, message="0.412 [0.380, 0.440] is above 0.3", seconds=12.5),
    Check(name="recognised", passed=True, message="0.021 [0.010, 0.040] is at most 0.1", seconds=0.25),
]


def read(path: Path) -> tuple[ElementTree.Element, list[ElementTree.Element]]:
    root = ElementTree.parse(path).getroot()
    assert root.tag == "testsuites"
    (suite,) = root
    return suite, suite.findall("testcase")


def test_a_check_that_failed_is_a_failure_with_its_message(tmp_path: Path) -> None:
    write_junit(tmp_path / "audit.xml", CHECKS)
    suite, (failed, passed) = read(tmp_path / "audit.xml")
    assert suite.attrib == {
        "name": "oneway audit",
        "tests": "2",
        "failures": "1",
        "errors": "0",
        "skipped": "0",
        "time": "12.750",
    }
    assert failed.attrib == {"classname": "oneway.audit", "name": "picture_similarity", "time": "12.500"}
    (failure,) = failed
    assert failure.tag == "failure"
    assert failure.get("message") == failure.text == CHECKS[0].message
    assert passed.get("name") == "recognised"
    assert passed.find("failure") is None
    assert passed.findtext("system-out") == CHECKS[1].message


def test_no_check_is_a_suite_without_tests(tmp_path: Path) -> None:
    write_junit(tmp_path / "audit.xml", [])
    suite, cases = read(tmp_path / "audit.xml")
    assert (suite.get("tests"), suite.get("failures"), cases) == ("0", "0", [])


@given(
    checks=st.lists(
        st.builds(
            Check,
            name=st.text(),
            passed=st.booleans(),
            message=st.text(),
            seconds=st.floats(0, 1e6, allow_subnormal=False),
        ),
        max_size=5,
    )
)
def test_whatever_is_said_can_be_read_again(tmp_path_factory: pytest.TempPathFactory, checks: list[Check]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.xml"
    write_junit(path, checks)
    suite, cases = read(path)
    assert [case.find("failure") is None for case in cases] == [check.passed for check in checks]
    assert suite.get("failures") == str(sum(not check.passed for check in checks))
    for case, check in zip(cases, checks, strict=True):
        name = case.get("name") or ""
        assert len(name) == len(check.name)
        kept = [(ours, theirs) for ours, theirs in zip(name, check.name, strict=True) if ours != "\ufffd"]
        assert all(ours == theirs for ours, theirs in kept)


def test_markup_in_a_message_stays_text(tmp_path: Path) -> None:
    message = "</failure><testcase name='forged'/> & \x00\x1b[31m"
    write_junit(tmp_path / "audit.xml", [Check(name="<b>", passed=False, message=message, seconds=0)])
    _, (case,) = read(tmp_path / "audit.xml")
    assert case.get("name") == "<b>"
    assert case[0].text == "</failure><testcase name='forged'/> & \ufffd\ufffd[31m"


def test_the_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "audit.xml"
    write_junit(path, CHECKS)
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ElementTree.ElementTree, "write", full)
    with pytest.raises(InputError, match="No space left"):
        write_junit(path, CHECKS[:1])
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
