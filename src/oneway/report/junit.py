"""Checks of an audit as JUnit XML, which continuous integration shows like the results of tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from oneway.storage.atomic import whole

_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that an audit was to hold.

    Attributes:
        name: of what was checked, such as `picture_similarity`.
        passed: whether it held.
        message: the figure and the bound it was held against.
        seconds: how long it took.

    """

    name: str
    passed: bool
    message: str
    seconds: float


def write_junit(path: Path, checks: Sequence[Check]) -> None:
    """Write the checks as one JUnit test suite, atomically; a check that failed is a failure with its message.

    Characters that XML cannot hold are replaced by U+FFFD.

    Raises:
        InputError: if the file cannot be written.

    """
    suite = ElementTree.Element(
        "testsuite",
        name="oneway audit",
        tests=str(len(checks)),
        failures=str(sum(not check.passed for check in checks)),
        errors="0",
        skipped="0",
        time=_seconds(sum(check.seconds for check in checks)),
    )
    for check in checks:
        name, message = _writable(check.name), _writable(check.message)
        case = ElementTree.SubElement(
            suite, "testcase", classname="oneway.audit", name=name, time=_seconds(check.seconds)
        )
        if check.passed:
            ElementTree.SubElement(case, "system-out").text = message
        else:
            ElementTree.SubElement(case, "failure", message=message).text = message
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    with whole(path) as partial:
        ElementTree.ElementTree(suites).write(partial, encoding="utf-8", xml_declaration=True)


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _writable(text: str) -> str:
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text)
