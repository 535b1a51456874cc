"""What a standard asks of protected features is gathered from an audit, and no figure says less than the audit does."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

import oneway
from audited import audited, refused, typed
from conftest import Once
from oneway.judges.verifier import Verifier
from oneway.metrics import pairs
from oneway.metrics.estimate import mean
from oneway.report.profile import Profile, SuccessOfAttack
from oneway.report.reports import read_report
from oneway.report.table import audit_tables
from oneway.report.values import Refused
from test_auditing import audit_noisily

pytestmark = pytest.mark.whole


@pytest.mark.parametrize("shots", [2, 5])
@pytest.mark.parametrize("rate", [1e-2, 1e-3])
def test_so_many_people_would_do_and_one_less_would_not(shots: int, rate: float) -> None:
    given = np.repeat(np.arange(7), shots)
    needed = pairs.people_needed(given, rate)

    def measured(num_people: int) -> bool:
        return pairs.num_apart(np.repeat(np.arange(num_people), shots)) * rate >= pairs.LEAST_ACCEPTED

    assert measured(needed)
    assert not measured(needed - 1)


def test_people_with_unequally_many_pictures_are_counted_as_they_are() -> None:
    shots = np.random.default_rng(0).integers(1, 9, 40)
    few = np.repeat(np.arange(40), shots)
    needed = pairs.people_needed(few, 1e-4)
    copies = -(-needed // 40)
    many = np.repeat(np.arange(40 * copies), np.tile(shots, copies))
    assert pairs.num_apart(many) * 1e-4 >= pairs.LEAST_ACCEPTED
    fewer = np.repeat(np.arange(40 * (copies - 1)), np.tile(shots, copies - 1))
    assert copies > 2
    assert pairs.num_apart(fewer) * 1e-4 < pairs.LEAST_ACCEPTED


@pytest.fixture(scope="module")
def found(once: Once, people: oneway.Pack, judge: Verifier) -> tuple[oneway.AuditReport, dict[str, Any]]:
    """What is found of an encoder that adds noise, beside another, and the scores of every test picture."""
    folder = once("audited-noisy", partial(audit_noisily, people, judge))
    with np.load(folder / "scores.npz") as kept:
        return read_report(folder, oneway.AuditReport, "oneway audit"), dict(kept)


def rows(profile: Profile | None) -> list[SuccessOfAttack]:
    assert profile is not None
    assert not isinstance(profile.irreversibility, Refused)
    return profile.irreversibility


def test_success_of_attack_is_by_each_judge_of_one_answer_of_several_and_of_the_weights(
    found: tuple[oneway.AuditReport, dict[str, Any]],
) -> None:
    report, _ = found
    models = {(row.judge, row.threat_model, row.answers) for row in rows(report.iso24745)}
    assert models == {
        ("judge.onnx", "black box", 1),
        ("judge.onnx", "black box", 16),
        ("judge.onnx", "white box", 1),
    }
    for row in rows(report.iso24745):
        assert not row.trained_with
        assert [each.false_accept_rate for each in row.recognised] == [1e-2, 1e-3, 1e-4]
        measured, last = row.recognised[:2], row.recognised[2]
        assert (last.threshold, last.share, last.people_needed) == (None, None, 150)
        assert all(each.people_needed is None and each.share is not None for each in measured)
        shares = [each.share.value for each in measured if each.share]
        assert shares == sorted(shares, reverse=True), "a stricter judge accepts no more"


def test_success_of_attack_is_the_share_of_pictures_above_the_threshold_over_people(
    found: tuple[oneway.AuditReport, dict[str, Any]], people: oneway.Pack
) -> None:
    report, kept = found
    (single,) = (row for row in rows(report.iso24745) if (row.threat_model, row.answers) == ("black box", 1))
    similar = kept["inversion picture_similarity"]
    for each in single.recognised[:2]:
        assert each.threshold is not None
        accepted = [float(value > each.threshold) for value in similar]
        expected = mean(np.array(accepted), kept["people"], unit="share")
        assert each.share is not None
        assert each.share.value == pytest.approx(expected.value)
        assert each.share.n == people.test.num_people
    strict = single.recognised[1]
    of_panel = report.attacks["inversion"]
    assert not isinstance(of_panel, Refused)
    assert of_panel.ways[single.attacker].judged["judge.onnx"]["recognised"] == strict.share
    (several,) = (row for row in rows(report.iso24745) if row.answers == 16)
    averaged = report.attacks["averaging"]
    assert not isinstance(averaged, Refused)
    assert several.recognised[1].share == averaged.scores["recognised"], "as the first judge says elsewhere"
    (white,) = (row for row in rows(report.iso24745) if row.threat_model == "white box")
    searched = report.attacks["optimisation"]
    assert not isinstance(searched, Refused)
    assert white.recognised[1].share == searched.scores["recognised"]


def test_unlinkability_is_that_of_linkage_and_who_holds_what_is_said(
    found: tuple[oneway.AuditReport, dict[str, Any]],
) -> None:
    report, _ = found
    profile, linkage = report.iso24745, report.attacks["linkage"]
    assert profile is not None
    assert not isinstance(linkage, Refused)
    assert not isinstance(profile.unlinkability, Refused)
    for number in profile.unlinkability:
        assert number.value == linkage.scores[number.metric]
        assert number.floor == report.floors["chance"][number.metric]
    assert [number.metric for number in profile.unlinkability] == ["d_sys", "maximal_linkability"]
    assumed = profile.assumed
    assert assumed["weights"] == "the white box holds the encoder's weights, and nobody else does"
    assert "or 16 where that is said" in assumed["stolen features"]
    assert "at most" not in assumed["public pictures"], "who is shown is known"
    assert assumed["judges"] == "no attacker trains with a judge"


def test_renewability_is_by_both_encoders_and_who_has_both_is_held_to_who_has_one(
    found: tuple[oneway.AuditReport, dict[str, Any]],
) -> None:
    report, _ = found
    assert report.iso24745 is not None
    renewed, inversion = report.iso24745.renewability, report.attacks["inversion"]
    assert not isinstance(renewed, Refused)
    assert not isinstance(renewed.across, Refused)
    assert not isinstance(inversion, Refused)
    assert renewed.other == "audited-noisy.npz"
    assert str(report.provenance.audit["renewed"]).startswith("audited-noisy.npz@"), (
        "named without its path, and by its hash"
    )
    assert set(renewed.across.scores) == set(renewed.within)
    across = renewed.across.scores["rank_1"]
    assert across is not None
    assert renewed.across.strongest["rank_1"] in renewed.across.ways
    assert {name.partition(",")[0] for name in renewed.across.ways} == {
        *(f"likelihood ratio of {kept}" for kept in (8, 16, 32, 128, 512)),
        "mapped onto this encoder",
        "mapped onto the other",
        "verifier features",
    }
    assert list(renewed.drawn) == ["this encoder", "the other encoder", "both"]
    alone = renewed.drawn["this encoder"]
    assert alone.judged == inversion.ways["linear"].judged
    assert set(alone.judged) == {"judge.onnx"}
    similar = {name: way.validation["picture_similarity"] for name, way in renewed.drawn.items()}
    assert renewed.strongest == max(similar, key=lambda name: similar[name])
    within = renewed.within["rank_1"]
    assert within is not None
    assert across.value > within.value, "the other encoder adds no noise"
    assert any("who has the features of both encoders" in guard.message for guard in report.guards)


def test_the_table_says_what_was_left_out_and_what_was_not_measured() -> None:
    figures, standard = audited(), typed(audited()).iso24745
    assert standard is not None
    (_, table) = audit_tables(typed(figures))
    lines = str(table.caption).split("\n")
    assert lines[0] == "FAR 0.0001 is left out: it takes 1134 validation people with as many pictures each"
    assert lines[1].startswith("unlinkability: linkable, D_sys 0.472 [")
    assert lines[2].startswith(
        "renewability, features linked to those by faces64-layer2-seed1: linked, TAR at FAR 1e-3"
    )
    assert "both 0.262" in lines[3]
    assert table.row_count == 4
    assert "floor 0.009" in lines[2], "of shuffled people"
    cell = next(iter(list(table.columns[3].cells)))
    assert cell == "0.249\n[0.231, 0.267]\nfloor 0.002\ncontrol 0.713"
    (_, nothing) = audit_tables(typed(refused()))
    said = str(nothing.caption).split("\n")
    assert [line.partition(":")[0] for line in said[:3]] == ["irreversibility", "unlinkability", "renewability"]
    assert all("not measured, " in line for line in said[:3])
    assert len(audit_tables(replace(typed(figures), iso24745=None))) == 1, "a report of before has none"
