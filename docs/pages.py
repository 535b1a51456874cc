"""The pages of reference that are made of the code when the site is built: commands, settings, Python, schemas."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import oneway
from oneway.auditing.config import AuditConfig
from oneway.cli import COMMANDS, main
from oneway.cli.options import EXECUTOR
from oneway.config import JsonSchema, schema, settings, text
from oneway.data.readers.layouts import layouts
from oneway.judges.identification import IdentificationConfig
from oneway.judges.preprocessing import Preprocessing
from oneway.protection.config import PRESETS, ProtectConfig
from oneway.protection.recipes import classes as defences
from oneway.report.schema import results_schema
from oneway.report.settings import law, meaning
from oneway.reproduction.config import PRESETS as EXPERIMENTS
from oneway.serving.config import ServeConfig
from oneway.shipping.schema import contract_schema
from oneway.sweep.benchmark import DefencesConfig
from oneway.sweep.executor import Executor
from oneway.tasks.registry import kinds as tasks
from oneway.tasks.several import Several

ROOT = Path(__file__).parents[1]
CONFIGURED: dict[str, Any] = {
    "protect": ProtectConfig(),
    "attack": oneway.InversionConfig(),
    "audit": AuditConfig(),
    "benchmark": DefencesConfig(),
    "experiment": EXPERIMENTS["small"](),
    "verifier": IdentificationConfig(),
    "serve": ServeConfig(),
}
"""What `--set` of a command sets, as it is by default."""
WITHIN = {"protect.": PRESETS["small"](), "audit.": AuditConfig()}
"""Configurations of one command inside another's, where only what differs is listed."""
FROM_ROOT = {
    "architecture": "ARCHITECTURE.md",
    "extending": "CONTRIBUTING.md",
    "changes": "CHANGELOG.md",
    "security": "SECURITY.md",
}
"""Pages of the site that are files of the repository's root."""


def pages() -> dict[str, str]:
    """Give the Markdown of every generated page, by its path below docs/reference, without suffix."""
    commands = {f"commands/{name}": command_page(name) for name in COMMANDS}
    settings = {f"settings/{name}": settings_page(name) for name in CONFIGURED}
    defence = "What `oneway protect --defence NAME` chooses and `--set defence.FIELD=VALUE` sets."
    settings["settings/defences"] = choices_page("Settings of defences", defence, defences())
    task = "What a run records of the columns that `oneway protect --task` names."
    settings["settings/tasks"] = choices_page("Settings of tasks", task, {**tasks(), "several": Several})
    judge = "Fields of the NAME.json beside a judge's NAME.onnx."
    settings["settings/judges"] = choices_page("Settings of judges", judge, {"": Preprocessing})
    return {
        **{name: from_root(file) for name, file in FROM_ROOT.items()},
        "commands": contents("Commands", commands),
        **commands,
        "settings": contents("Settings", settings),
        **settings,
        "python": python_page("Python", sorted(f"oneway.{name}" for name in oneway.__all__)),
        "extension-points": python_page("Extension points", extension_points()),
        "results-schema": schema_page(results_schema(), "Schema of results.json", "results"),
        "contract-schema": schema_page(contract_schema(), "Schema of contract.json", "contract"),
    }


def write(folder: Path) -> None:
    """Write every page that is not there as it would be written."""
    for name, content in pages().items():
        path = folder / f"{name}.md"
        if not path.is_file() or path.read_text() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)


def from_root(file: str) -> str:
    """Give a file of the root with its links to docs/ and to its neighbours as they are from docs/reference."""
    content = (ROOT / file).read_text().replace("](docs/", "](../")
    for name, neighbour in FROM_ROOT.items():
        content = content.replace(f"]({neighbour})", f"]({name}.md)")
    return content


def contents(title: str, below: Mapping[str, str]) -> str:
    """List pages with what their first paragraphs say."""
    entries = []
    for name, content in below.items():
        heading, paragraph = content.replace("](../../", "](../").split("\n\n")[:2]
        entries.append(f"[{heading.removeprefix('# ')}]({name}.md)\n: {' '.join(paragraph.split())}")
    return _joined([f"# {title}", *entries, "\n".join(["```{toctree}", ":hidden:", "", *below, "```"])])


def printed(*arguments: str) -> str:
    """Give what the command line prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main(arguments)
    return said.getvalue()


def command_page(name: str) -> str:
    """Write what `oneway NAME --help` says, that of its layouts after it."""
    parts = [f"# oneway {name}", *_help(name)]
    if name in CONFIGURED:
        parts.append(f"What `--set` takes: [settings of oneway {name}](../settings/{name}.md).")
    if name == "prepare":
        for layout in layouts():
            parts += [f"## oneway prepare {layout}", *_help(name, layout)]
    return _joined(parts)


def _help(*command: str) -> Iterator[str]:
    """Give what a command's help says: its description, its usage, then each thing that it takes."""
    usage, _, rest = printed(*command, "--help").partition("\n\n")
    prose, options = re.split(r"\n(?= (?:options|positional arguments)\s*\n -+)", rest, maxsplit=1)
    yield re.sub(r"docs/(\w+)\.md", r"[\1](../../\1.md)", prose.strip())
    yield "\n".join(["```text", *usage.splitlines(), "```"])
    listed: dict[str, list[str]] = {}
    for line in re.sub(r"^ \w[\w ]*\n -+ *$", "", options, flags=re.MULTILINE).splitlines():
        begins = re.fullmatch(r"(?:  |    • )(\S.*?)(?:  +(\S.*?))? *", line)
        if begins:
            listed[begins[1]] = [begins[2] or ""]
        elif line.strip() and listed:
            listed[list(listed)[-1]].append(line.strip())
    for name, lines in listed.items():
        said = " ".join(lines).strip().replace("*", r"\*")
        if said:
            yield f"`{name}`\n: {said}"


def settings_page(name: str) -> str:
    """Write every field of a command's configuration, by the class that has it."""
    config = CONFIGURED[name]
    parts = [
        f"# Settings of oneway {name}",
        _short(type(config)),
        f"`oneway {name} --set NAME=VALUE`, once or more often. Values are those by default"
        + (f"; `oneway {name} ... --show-config` prints them as they would be used." if _shows(name) else "."),
    ]
    within = {above: at for above, at in WITHIN.items() if hasattr(config, above.rstrip("."))}
    groups: dict[tuple[Any, str], list[str]] = {}
    for setting in settings(config):
        above = setting.name.removesuffix(setting.field)
        inner = next((begin for begin in within if above.startswith(begin)), None)
        if inner is None or setting.value != _reached(within[inner], setting.name.removeprefix(inner)):
            groups.setdefault((setting.owner, above), []).append(
                _entry(setting.name, setting.owner, setting.field, text(setting.value))
            )
    for (owner, above), entries in groups.items():
        about = _short(owner) if above else ""
        parts += [f"## {owner.__name__}" + (f": `{above}`" if above else ""), about, *entries]
    if within:
        others = "; ".join(f"`{above}` as [oneway {above[:-1]}]({above[:-1]}.md) has them" for above in within)
        parts.append(f"The rest: {others}, those above excepted.")
        parts += [f"## Executor: `{EXECUTOR}`", _short(Executor)]
        parts += [_entry(each.name, Executor, each.field, text(each.value)) for each in settings(Executor(), EXECUTOR)]
    return _joined(parts)


def choices_page(title: str, about: str, kinds: Mapping[str, Any]) -> str:
    """Write the fields of classes of which a configuration chooses one."""
    parts = [f"# {title}", about]
    for name, kind in kinds.items():
        parts += [f"## {kind.__name__}" + (f": `{name}`" if name else ""), _short(kind)]
        for field in dataclasses.fields(kind):
            if field.name != "name":
                free = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
                value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
                parts.append(_entry(field.name, kind, field.name, None if free else text(value)))
    return _joined(parts)


def _entry(name: str, owner: Any, field: str, value: str | None) -> str:
    """Write one field: its name and default, and below it what it may be and what it means."""
    default = "required" if value is None else f"by default `{value}`" if value else "by default empty"
    return f"`{name}`, {default}\n: {law(schema(owner)['properties'][field])}. {_sentence(meaning(owner, field))}"


def _sentence(said: str) -> str:
    return said[:1].upper() + said[1:]


def _short(kind: Any) -> str:
    """Give the first paragraph of a docstring."""
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


def _shows(name: str) -> bool:
    return "show_config" in COMMANDS[name].__annotations__


def _reached(config: Any, path: str) -> Any:
    """Give the value of a nested field."""
    for name in path.split("."):
        config = getattr(config, name)
    return config


def extension_points() -> list[str]:
    """List what CONTRIBUTING.md names of the package, in its order."""
    found = re.findall(r"`(oneway\.(?:\w+\.)+\w+)`", (ROOT / "CONTRIBUTING.md").read_text())
    return [name for name in dict.fromkeys(found) if name != "oneway.protection.config"]


def python_page(title: str, names: list[str]) -> str:
    """Let Sphinx write classes and functions from their docstrings."""
    parts = [f"# {title}"]
    for name in names:
        home, _, own = name.rpartition(".")
        kind = "class" if own[0].isupper() else "function"
        members = "\n   :members:\n   :exclude-members: __init__" if kind == "class" else ""
        parts += [f"## {own}", f"```{{eval-rst}}\n.. auto{kind}:: {home}.{own}{members}\n```"]
    return _joined(parts)


def schema_page(described: JsonSchema, title: str, name: str) -> str:
    """Write a JSON Schema for people: every record, its fields, what they may be and mean."""
    parts = [f"# {title}", f"For programs: [{name}.schema.json](../{name}.schema.json)."]
    if "anyOf" in described:
        parts.append(f"One of {_shape(described)}.")
    else:
        parts += [_sentence(described.get("description") or ""), *_fields(described)]
    for record, inside in described["$defs"].items():
        parts += [f"## {record}", inside.get("description") or "", *_fields(inside)]
    return _joined(parts)


def _fields(described: JsonSchema) -> Iterator[str]:
    needed = described.get("required", [])
    for field, about in described.get("properties", {}).items():
        may = "" if field in needed else " (may be left out)"
        yield f"`{field}`{may}\n: {_shape(about)}. {_sentence(about.get('description') or '')}"


def _shape(described: JsonSchema) -> str:
    """Say what a field of a record may be, with links to records."""
    if "$ref" in described:
        name = described["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    either = described.get("anyOf") or described.get("oneOf")
    if either:
        return " or ".join(map(_shape, either))
    if described.get("type") == "array" and isinstance(described.get("items"), dict):
        return f"list, each a {_shape(described['items'])}"
    if "prefixItems" in described:
        return f"list of {', '.join(map(_shape, described['prefixItems']))}"
    if described.get("type") == "object":
        inside = [*described.get("patternProperties", {}).values(), described.get("additionalProperties")]
        return next((f"by name: {_shape(each)}" for each in inside if isinstance(each, dict) and each), "object")
    return law(described)


def _joined(parts: list[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
