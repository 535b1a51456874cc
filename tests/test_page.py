from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass, replace
from functools import partial
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np
import pytest
from PIL import Image

import oneway
from audited import Results, audited, faces, figure, refused, typed
from oneway.data.packed import Pack
from oneway.laws import hints_of
from oneway.metrics.estimate import Estimate
from oneway.metrics.registry import metrics
from oneway.report import figure as written
from oneway.report.page import Pictures, write_page
from oneway.report.table import verifier_line

pytestmark = pytest.mark.whole

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
VOID = {"meta", "link", "img"}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


class Read(HTMLParser):
    """An HTML file read strictly: every element is closed where it must be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.sections: dict[str, str] = {}
        self._open: list[str] = []
        self._section = ""
        self.feed(text)
        self.close()
        assert self._open == []
        self.text = plain(" ".join(self.words))
        self.sections = {name: plain(words) for name, words in self.sections.items()}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "section":
            self._section = dict(attrs)["id"] or ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.words.append(data)
            self.sections[self._section] = f"{self.sections.get(self._section, '')} {data}"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def value(shown: Any, unit: str = "") -> str:
    """A figure of results.json as the page writes it."""
    return written.value(Estimate(**shown) if isinstance(shown, dict) else shown, unit)


def interval(shown: Any) -> str:
    return written.interval(Estimate(**shown) if isinstance(shown, dict) else shown)


def plain(text: str) -> str:
    """A text with single spaces, as `Read` gives it."""
    return " ".join(text.split())


def write(folder: Path, results: Results, pictures: Pictures | None = None) -> str:
    write_page(typed(results), pictures, folder / "page.html")
    return (folder / "page.html").read_text(encoding="utf-8")


def read(folder: Path, results: Results, pictures: Pictures | None = None) -> Read:
    return Read(write(folder, results, pictures))


def changed(content: Any, change: Callable[[str], str]) -> Any:
    """The same results with every text that is only shown changed."""
    if isinstance(content, dict):
        kept = {"kind", "level", "unit", "strongest", "attacker", "created"}
        return {name: part if name in kept else changed(part, change) for name, part in content.items()}
    if isinstance(content, list):
        return [changed(part, change) for part in content]
    return change(content) if isinstance(content, str) else content


@pytest.fixture
def pictures(pack: Pack) -> Pictures:
    return faces(pack, 3)


MADE = pytest.mark.parametrize("made", [audited, refused])


@MADE
def test_the_page_loads_nothing(tmp_path: Path, pictures: Pictures, made: Callable[[], Results]) -> None:
    text = write(tmp_path, made(), pictures)
    page = Read(text)
    for tag, attributes in page.tags:
        assert tag not in {"script", "iframe", "object", "embed", "form", "base", "video", "audio"}
        for name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href", "background"):
            address = attributes.get(name) or "#"
            assert address.startswith("#" if tag == "a" else ("data:", "#")), (tag, name, address)
        assert not any(name.startswith("on") for name in attributes)
        assert "url(" not in (attributes.get("style") or "")
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = (meta for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == POLICY


@MADE
def test_the_page_is_sound_html(tmp_path: Path, pictures: Pictures, made: Callable[[], Results]) -> None:
    text = write(tmp_path, made(), pictures)
    page = Read(text)
    assert text.startswith("<!DOCTYPE html>\n")
    assert page.all("html") == [{"lang": "en"}]
    assert {"charset": "utf-8"} in page.all("meta")
    assert f"<title>Audit of {made()['victim']['name']}</title>" in text
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {str(link["href"])[1:] for link in page.all("a")} <= set(ids)
    for attributes in page.all("svg"):
        assert attributes["role"] == "img"
        assert set(str(attributes["aria-labelledby"]).split()) <= set(ids)
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert page.all("svg") == [] or (page.all("svg") and page.all("desc"))
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))


def test_the_verdict_and_its_numbers_come_first(tmp_path: Path) -> None:
    results = audited()
    page = read(tmp_path, results)
    sections = [str(attributes["id"]) for attributes in page.all("section")]
    assert sections[0] == "verdict"
    assert len(sections) == len(page.all("nav")) * 15
    first = page.sections["verdict"]
    assert results["verdict"]["sentence"] in first
    assert "Leakage: partial" in first
    for item in results["verdict"]["numbers"]:
        for shown in filter(None, (item["value"], item["leakage"])):
            assert plain(value(shown)) in first
            assert interval(shown) in first
        assert plain(f"floor {value(item['floor'], item['value']['unit'])}") in first
        assert plain(f"control {value(item['control'])}" if item["control"] else "no control") in first
    assert all(reason in first for reason in results["verdict"]["reasons"])
    assert "1 of 5 guards did not hold (convergence)" in first.replace("( ", "(")


@MADE
def test_each_section_says_what_it_means_and_what_is_good(tmp_path: Path, made: Callable[[], Results]) -> None:
    text = write(tmp_path, made())
    for section in re.findall(r"<section.*?</section>", text, re.DOTALL):
        meaning = re.search(r'<p class="meaning">(.*?)</p>', section, re.DOTALL)
        assert meaning, section[:60]
        direction = ("safer", "as safe as", "better", "not to be trusted", "the same figures")
        assert any(word in plain(meaning[1]) for word in direction), meaning[1]


def test_every_estimate_is_on_the_page_with_its_interval(tmp_path: Path) -> None:
    results = audited()
    text = read(tmp_path, results).text
    hidden = {"control"}  # shown by value, beside the victim's
    found = 0

    def look(block: Any, name: str) -> None:
        nonlocal found
        if isinstance(block, dict) and "low" in block:
            assert plain(value(block)) in text, name
            assert interval(block) in text, name
            found += 1
        elif isinstance(block, dict):
            for key, part in block.items():
                if key not in hidden:
                    look(part, f"{name}.{key}")
        elif isinstance(block, list):
            for place, part in enumerate(block):
                look(part, f"{name}.{place}")

    for block in ("verdict", "attacks", "queries", "utility", "leakage", "iso24745"):
        look(results[block], block)
    assert found > 100
    decided = results["decisions"]["scores"]
    linkage = {name for name, metric in metrics().items() if metric.attack == "linkage"}
    marked = {name: shown for name, shown in decided.items() if name in linkage or name.startswith("inferred_mcc.")}
    assert len(marked) == 7 + 15
    assert all(plain(f"decisions {value(shown)}") in text for shown in marked.values())
    told = text.partition("decisions alone, a bit")[2][:300]
    assert all(plain(value(shown)) in told for shown in results["decisions"]["leakage"].values())
    for shown in results["control"]["attacks"]["inference"]["scores"].values():
        assert plain(f"control {value(shown)}") in text


def test_a_run_is_not_said_to_be_protected_since_it_may_be_the_control(tmp_path: Path) -> None:
    results = audited()
    results["victim"]["kind"] = "run"
    write_page(typed(results), None, tmp_path / "page.html")
    subject = (tmp_path / "page.html").read_text(encoding="utf-8").split('class="subject">')[1].split("</p>")[0]
    assert subject.startswith("An encoder trained by oneway")


def test_a_page_of_an_onnx_file_keeps_the_capitals_of_its_kind(tmp_path: Path) -> None:
    results = audited()
    results["victim"]["kind"] = "onnx"
    write_page(typed(results), None, tmp_path / "page.html")
    assert ">An ONNX model" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_attributes_are_sorted(tmp_path: Path) -> None:
    results = audited()
    page = read(tmp_path, results)
    for section, figures in (
        ("utility", results["utility"]["each"]),
        (
            "inference",
            {
                name.partition(".")[2]: shown
                for name, shown in results["attacks"]["inference"]["scores"].items()
                if "." in name
            },
        ),
    ):
        said = page.sections[section]
        order = sorted(figures, key=lambda name: said.index(f" {name.replace('_', ' ')} "))
        assert order == sorted(figures, key=lambda name: -figures[name]["value"])
    assert results["victim"]["task"]
    assert "attributes that are not the task" in page.sections["inference"]
    results["victim"]["task"] = None
    assert "attributes that the pack knows" in read(tmp_path, results).sections["inference"]


def test_a_task_of_classes_and_what_is_inferred_of_others_are_said_as_they_are(tmp_path: Path) -> None:
    results = audited()
    share = {"value": 0.62, "low": 0.55, "high": 0.7, "n": 60, "unit": "share"}
    about = {"title": "balanced accuracy above chance", "of": "hair, 3 classes", "further": {"accuracy": share}}
    results["utility"] = about | {"value": share, "each": {"bald": share, "curly": share}}
    results["attacks"]["inference"]["scores"] |= {"inferred.age": share | {"unit": "R2"}, "inferred.hat_kind": share}
    page = read(tmp_path, results)
    said = page.sections["utility"]
    assert "balanced accuracy above chance of hair, 3 classes" in said
    assert "accuracy: 62.0" in said
    assert "curly" in said
    binary = sum("inferred_mcc." in name for name in results["attacks"]["inference"]["scores"])
    for expected in ("age, R2", "hat kind, balanced accuracy above chance", f"mean of {binary} "):
        assert expected in page.sections["inference"]


def test_utility_is_not_taken_for_a_leak(tmp_path: Path) -> None:
    results = audited()
    cards = re.findall(r'<article class="card">(.*?)</article>', write(tmp_path, results), re.DOTALL)
    assert ["higher is better" in card for card in cards] == [False, False, False, True, False]
    assert ["of the way from floor to control" in card for card in cards] == [True, True, True, False, False]


def test_a_breach_that_was_not_measured_is_not_denied(tmp_path: Path) -> None:
    results = audited()
    assert "Breach with 5 200 pairs:" in read(tmp_path, results).text
    results["queries"]["pairs_to_breach"] = None
    assert "No breach: with up to 40 960 pairs" in read(tmp_path, results).text
    for point in results["queries"]["curve"]:
        del point["scores"]["recognised"]
    assert "Breach unknown:" in read(tmp_path, results).text


def test_flags_stand_beside_the_attacker_they_are_of(tmp_path: Path) -> None:
    text = write(tmp_path, audited())
    rows = {
        re.sub(r"<.*", "", row, flags=re.DOTALL).strip(): " ".join(re.sub(r"<[^>]*>", " ", row).split())
        for row in re.findall(r'<th scope="row">(.*?)</tr>', text[text.index('id="attackers"') :], re.DOTALL)
    }
    table = text[text.index('aria-label="Scores of every attacker"') :]
    table = table[: table.index("</table>")]
    flagged = {
        re.sub(r"<.*", "", head, flags=re.DOTALL).strip(): re.findall(r'class="flag">(.*?)</span>', head)
        for head in re.findall(r'<th scope="row">(.*?)</th>', table, re.DOTALL)
    }
    assert flagged["mirror"] == flagged["residual"] == []
    assert flagged["transformer"] == ["⚠\ufe0e ended by its budget: a longer attack may get more"]
    assert flagged["gan"] == ["⚠\ufe0e lost to residual on validation people: its figures say little"]
    assert "convergence" in rows["mirror"]
    assert table.count(">strongest<") == 7  # one a score


def test_what_was_not_measured_says_why(tmp_path: Path) -> None:
    results = refused()
    text = read(tmp_path, results).text

    def look(block: Any) -> Iterator[str]:
        if isinstance(block, dict) and "refused" in block:
            yield block["refused"]
        elif isinstance(block, dict):
            for part in block.values():
                yield from look(part)
        elif isinstance(block, list):
            for part in block:
                yield from look(part)

    reasons = list(look(results))
    assert len(reasons) == 10 + 3 + 3 + 2 + 3, (
        "attacks, leakages, excesses, queries and decisions, and what a standard asks"
    )
    for reason in reasons:
        if not reason.startswith("decisions"):  # a mark that is not there
            assert f"ot measured: {reason}" in text
    assert verifier_line(None) in text
    assert "the victim comes without a task" in text


@pytest.mark.parametrize("block", ["queries", "decisions"])
def test_a_block_may_be_refused(tmp_path: Path, block: str) -> None:
    page = read(tmp_path, audited() | {block: {"refused": "it went up in smoke"}})
    assert ("it went up in smoke" in page.text) == (
        block == "queries"
    )  # the decisions are marks beside others' figures
    assert len(page.all("section")) == 15


@pytest.mark.parametrize("attack", list(audited()["attacks"]))
def test_any_attack_may_be_refused(tmp_path: Path, attack: str) -> None:
    results = audited()
    results["attacks"][attack] = {"refused": "it went up in smoke"}
    assert "ot measured: it went up in smoke" in read(tmp_path, results).text


def emptied(value: Any, hint: Any, *, parts: bool) -> Any:
    """The value with nothing wherever its type allows that; `parts` empties what has parts within instead."""
    has_parts = isinstance(value, list | dict) or (is_dataclass(value) and not isinstance(value, Estimate))
    if type(None) in get_args(hint) and not (parts and has_parts):
        return None
    if isinstance(value, list | dict):
        kind = next((each for each in (hint, *get_args(hint)) if get_origin(each) is type(value)), None)
        if kind is None:
            return value  # of anything
        inside = partial(emptied, hint=get_args(kind)[-1], parts=parts)
        if isinstance(value, list):
            return [inside(part) for part in value]
        return {name: inside(part) for name, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        hints = hints_of(type(value))
        changes = {name: emptied(getattr(value, name), its, parts=parts) for name, its in hints.items()}
        return replace(value, **changes)
    return value


@pytest.mark.parametrize("parts", [True, False], ids=["in what has parts", "altogether"])
def test_whatever_may_be_unknown_is_a_dash(parts: bool) -> None:
    report = typed(audited())
    less: oneway.AuditReport = emptied(report, oneway.AuditReport, parts=parts)
    assert (less.utility is None) == (not parts)
    text = Read(less.to_html()).text
    assert "None" not in text
    assert text.count("–") > 5 + Read(report.to_html()).text.count("–")
    assert "None" not in str(less)
    for judge in less.judges:
        assert "too few people to say how good it is" in verifier_line(judge)


def test_the_bound_is_said_to_hold_for_unbiased_attackers_only(tmp_path: Path) -> None:
    results = audited()
    said = read(tmp_path, results).sections["information"]
    assert "no unbiased attacker has a mean squared error below 1.2195 [1.1745, 1.2645]" in said
    assert "for unbiased attackers only: a network trained on faces is biased and may err less" in said
    assert "(the mean face: 0.0512)" in said


def test_what_passes_at_most_is_said_to_hold_for_whoever_attacks(tmp_path: Path) -> None:
    said = read(tmp_path, audited()).sections["information"]
    assert "Whoever attacks, however long: one answer tells at most 14.70 bits [14.50, 14.90] of the picture" in said
    assert "the average of 16 answers at most 49.10 bits [48.60, 49.60]" in said
    assert "the noise lets through at most 33.95 bits in 128 numbers" in said
    older = audited()
    del older["attacks"]["capacity"]
    assert "Whoever attacks" not in read(tmp_path, older).sections["information"]


def test_without_a_verifier_the_scores_that_need_none_are_shown(tmp_path: Path) -> None:
    results = audited()
    needless = ("picture_similarity", "recognised")
    inversion = results["attacks"]["inversion"]
    for holder in (
        inversion["scores"],
        inversion["strongest"],
        *(way["scores"] for way in inversion["ways"].values()),
        *(results["floors"][name] for name in ("mean_picture", "random_public_picture")),
        results["decisions"]["scores"],
        results["attacks"]["optimisation"]["scores"],
        results["attacks"]["averaging"]["scores"],
        *(point["scores"] for point in results["queries"]["curve"]),
        *(way["scores"] for way in results["iso24745"]["renewability"]["drawn"].values()),
    ):
        for name in needless:
            del holder[name]
    results["queries"]["pairs_to_breach"] = None
    for way in inversion["ways"].values():
        del way["validation"]["picture_similarity"]
    silent = {"refused": "there is no control"}
    results |= {"judges": [], "control": None, "leakage": dict.fromkeys(results["leakage"], silent)}
    page = read(tmp_path, results)
    assert "SSIM" in page.sections["leakage"]
    assert "face similarity ↓" not in page.text
    assert len(page.all("svg")) == 1
    assert "Breach unknown:" in page.text
    assert "Of utility, more is better" in page.sections["verdict"]


def test_markup_in_results_stays_text(tmp_path: Path, pictures: Pictures) -> None:
    results = audited()
    results["victim"]["name"] = "<script>alert(1)</script>"
    text = write(tmp_path, results, pictures)
    assert "<script" not in text
    assert "<title>Audit of &lt;script&gt;alert(1)&lt;/script&gt;</title>" in text


@MADE
def test_no_text_of_the_results_can_change_the_page(tmp_path: Path, made: Callable[[], Results]) -> None:
    hostile = "\"'></p></section><img src=x onerror=alert(1)><style>*{display:none}</style>{{ 7*7 }}"
    plain = read(tmp_path, changed(made(), lambda text: f"{text}!"))
    page = read(tmp_path, changed(made(), lambda text: text + hostile))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert [sorted(attributes) for _, attributes in page.tags] == [sorted(attributes) for _, attributes in plain.tags]
    assert hostile in page.text
    assert "49" not in re.findall(r"\{\{.*?\}\}", page.text)


def test_pictures_are_embedded_as_they_are(tmp_path: Path, pictures: Pictures) -> None:
    images = read(tmp_path, audited(), pictures).all("img")
    assert len(images) == 3 * len(pictures.people) + 2 * 3
    shown = [picture for name in pictures.people for picture in pictures.people[name]]
    shown += [pictures.worst[kind][place] for place in range(3) for kind in ("original", "reconstruction")]
    for attributes, picture in zip(images, shown, strict=True):
        kind, content = str(attributes["src"]).split(",")
        assert kind == "data:image/png;base64"
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))), picture)
    texts = [str(attributes["alt"]) for attributes in images]
    assert len(set(texts)) == len(texts)
    assert texts[0] == "Person 1, original"
    assert "Person 3, redrawn by attacker transformer" in texts
    assert all(
        f"similarity {similarity:.3f}" in read(tmp_path, audited(), pictures).text for similarity in (0.74, 0.71)
    )


def test_left_out_faces_are_said_to_be(tmp_path: Path, pictures: Pictures) -> None:
    page = read(tmp_path, audited())
    assert page.all("img") == []
    assert "test pictures are not put into this page unless it is asked for" in page.text
    assert "--images" in page.text
    assert "Left out" not in read(tmp_path, audited(), pictures).text
    few = Pictures(people={"original": pictures.people["original"], "mirror": pictures.people["mirror"]})
    assert "Recovered best" not in read(tmp_path, audited(), few).text


def test_the_same_results_make_the_same_file(tmp_path: Path, pictures: Pictures) -> None:
    assert write(tmp_path, audited(), pictures) == write(tmp_path, audited(), pictures)
    other = audited()
    other["verdict"]["numbers"][0]["value"] = figure(0.357)
    assert write(tmp_path, other, pictures) != write(tmp_path, audited(), pictures)


def test_the_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write(tmp_path, audited())

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(oneway.InputError, match="No space left"):
        write_page(typed(refused()), None, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == before
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_text_and_bars_can_be_told_from_what_they_stand_on(theme: str) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    style = (Path(oneway.__file__).parent / "report" / "page.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", blocks[["light", "dark", "print"].index(theme)]))
    pairs = [(ink, ground) for ink in ("ink", "quiet", "link") for ground in ("page", "surface")]
    pairs += [("on-level", level) for level in ("open", "partial", "low", "undecided")]
    pairs += [("alarm-ink", "alarm"), ("badge-ink", "badge"), ("open", "surface"), ("low", "surface")]
    for ink, ground in pairs:
        assert contrast(found[ink], found[ground]) >= 4.5, (ink, ground)
    for mark in ("victim", "task", "control", "ink"):  # figures need 3
        assert contrast(found[mark], found["page"]) >= 3, mark


MEASURE = """<!DOCTYPE html><title>waiting</title><iframe src="page.html" width="WIDTH" height="800"></iframe><script>
addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument, root = page.documentElement;
  const wide = [...page.querySelectorAll("body *")].filter(
    part => !part.closest(".scroll") && part.getBoundingClientRect().right > root.clientWidth + 0.5);
  document.body.textContent = JSON.stringify([root.clientWidth, root.scrollWidth, wide.map(part => part.className)]);
});</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium or chrome on the PATH to render the page in")
@pytest.mark.parametrize("width", [360, 1200])
def test_a_browser_shows_it_without_scrolling_sideways_or_asking_for_more(
    tmp_path: Path, pictures: Pictures, width: int
) -> None:
    text = write(tmp_path, audited(), pictures)
    asked: list[str] = []

    class Serve(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content = (text if self.path == "/page.html" else MEASURE.replace("WIDTH", str(width))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Serve)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,900"]
        command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"http://127.0.0.1:{server.server_port}/"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    finally:
        server.shutdown()
        server.server_close()
    measured = re.search(r"\[(\d+),(\d+),(\[.*?\])\]", shown)
    assert measured, shown[-300:]
    inner, scrolled, wide = measured.groups()
    assert width - 20 <= int(inner) <= width
    assert scrolled == inner
    assert wide == "[]"
    assert set(asked) - {"/favicon.ico"} == {"/", "/page.html"}  # the icon is asked for by the page around ours
