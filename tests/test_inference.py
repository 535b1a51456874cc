"""Attributes are told from features that show them, and from the task's answers as far as these go."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor, nn

import oneway
from oneway.attacks.access import BlackBox, FeatureDump, all_features
from oneway.attacks.fit import Place
from oneway.attacks.inference import InferenceConfig, from_decisions, infer, predict_attributes
from oneway.errors import InputError
from oneway.metrics.classification import utility
from oneway.runtime import launch

pytestmark = pytest.mark.whole

QUICK = InferenceConfig(width=8, batch_size=32, check_every=25, max_steps=150)
Bools = NDArray[np.bool_]


class Mute(nn.Module):
    """An encoder that says the same of every picture."""

    def forward(self, pictures: Tensor) -> Tensor:
        return torch.ones(len(pictures), 4, 4, 4)


@pytest.fixture
def place(runtime: oneway.RuntimeConfig, tmp_path: Path) -> Place:
    return Place(
        fabric=launch(runtime), checkpoint=tmp_path / "checkpoint", checkpoint_seconds=math.inf, progress=False
    )


@pytest.fixture
def access(early: oneway.Run, pack: oneway.Pack, place: Place) -> BlackBox:
    return BlackBox(early.load().encoder, place.fabric, pack.size)


def mcc(predicted: Bools, part: oneway.data.Test, attributes: tuple[str, ...]) -> float:
    return utility(predicted, part.labels(attributes), part.identities, attributes)[0].value


def with_labels(pack: oneway.Pack, attribute: str, values: Bools) -> oneway.Pack:
    """The same pack with other labels of one attribute."""
    changed = dataclasses.replace(pack)
    place = pack.table.schema.get_field_index(attribute)
    changed.__dict__["table"] = pack.table.set_column(place, attribute, pa.array(values))
    return changed


def test_hair_and_hats_are_told_from_early_features(access: BlackBox, pack: oneway.Pack, place: Place) -> None:
    names = ("Blond_Hair", "Wearing_Hat", "Black_Hair")
    fitted = infer(access, pack.public, pack.validation, names, QUICK, place)
    told = predict_attributes(access, fitted.network, pack.test)
    assert told.shape == (len(pack.test), 3)
    assert mcc(told, pack.test, names) > 0.5


def test_features_that_name_an_attribute_give_it_away_and_no_other(pack: oneway.Pack, place: Place) -> None:
    rng = np.random.default_rng(0)
    features = {
        part.split: (np.where(part.labels(("Smiling",)), 5, 3) + 0.1 * rng.normal(size=(len(part), 6))).astype(
            np.float32
        )
        for part in (pack.public, pack.validation, pack.test)
    }
    access, names = FeatureDump(features, torch.device("cpu")), ("Pale_Skin", "Smiling")
    fitted = infer(access, pack.public, pack.validation, names, QUICK, place)
    told = predict_attributes(access, fitted.network, pack.test)
    assert mcc(told[:, 1:], pack.test, names[1:]) > 0.95
    assert abs(mcc(told[:, :1], pack.test, names[:1])) < 0.3


def test_features_that_say_nothing_give_a_constant_and_so_a_score_of_0(pack: oneway.Pack, place: Place) -> None:
    access, names = BlackBox(Mute(), place.fabric, pack.size), ("Smiling", "Blond_Hair")
    fitted = infer(access, pack.public, pack.validation, names, QUICK, place)
    assert mcc(predict_attributes(access, fitted.network, pack.test), pack.test, names) == 0


def test_the_same_attack_is_the_same_to_the_bit_and_a_dump_serves_as_well(
    access: BlackBox, pack: oneway.Pack, place: Place
) -> None:
    parts = (pack.public, pack.validation, pack.test)
    dump = FeatureDump(
        {part.split: all_features(access, part) for part in parts},
        torch.device("cpu"),
        mirrored={"public": all_features(access, pack.public, mirrored=True)},
    )
    config = dataclasses.replace(QUICK, max_steps=50)
    attacks = [
        infer(each, pack.public, pack.validation, ("Smiling",), config, place) for each in (access, access, dump)
    ]
    states = [fitted.network.state_dict() for fitted in attacks]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert attacks[0].validation_error == attacks[1].validation_error
    assert attacks[2].validation_error == pytest.approx(attacks[0].validation_error, abs=1e-3)


def test_an_attack_that_is_cut_short_goes_on_as_if_it_had_not_been(
    access: BlackBox, pack: oneway.Pack, place: Place
) -> None:
    kept, short, long = (
        dataclasses.replace(place, checkpoint_seconds=0),
        dataclasses.replace(QUICK, max_steps=50),
        dataclasses.replace(QUICK, max_steps=75),
    )
    names = ("Smiling", "Bangs")
    whole = infer(access, pack.public, pack.validation, names, long, place)
    infer(access, pack.public, pack.validation, names, short, kept)
    resumed = infer(access, pack.public, pack.validation, names, long, kept)
    assert (resumed.steps, resumed.validation_error) == (whole.steps, whole.validation_error)
    ours, theirs = resumed.network.state_dict(), whole.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("everybody", [False, True])
def test_what_all_public_people_share_is_taken_for_everybodys(
    everybody: bool, access: BlackBox, pack: oneway.Pack, place: Place
) -> None:
    labels = np.random.default_rng(0).random(len(pack.pixels)) < 0.5
    labels[pack.public.rows] = everybody
    changed, names = with_labels(pack, "Smiling", labels), ("Wearing_Hat", "Smiling")
    fitted = infer(access, changed.public, changed.validation, names, QUICK, place)
    told = predict_attributes(access, fitted.network, changed.test)
    assert (told[:, 1] == everybody).all()
    assert mcc(told[:, :1], changed.test, names[:1]) > 0.5  # which the other does not disturb


def test_it_ends_where_nothing_varies_at_all(access: BlackBox, pack: oneway.Pack, place: Place) -> None:
    labels = np.arange(len(pack.pixels)) % 2 == 0
    labels[pack.public.rows] = True
    changed = with_labels(pack, "Smiling", labels)
    fitted = infer(access, changed.public, changed.validation, ("Smiling",), QUICK, place)
    assert predict_attributes(access, fitted.network, changed.test).all()
    assert fitted.validation_error == pytest.approx(math.log(2))


@pytest.mark.parametrize("attributes", [(), ("Smilling",)])
def test_attributes_that_cannot_be_are_refused(
    attributes: tuple[str, ...], access: BlackBox, pack: oneway.Pack, place: Place
) -> None:
    with pytest.raises(InputError, match="attribute"):
        infer(access, pack.public, pack.validation, attributes, QUICK, place)


@pytest.mark.parametrize("field", ["width", "batch_size", "learning_rate", "max_steps", "drops"])
def test_a_field_that_cannot_be_is_named(field: str) -> None:
    with pytest.raises(InputError, match=f"{field}.*-1"):
        InferenceConfig(**{field: -1})


def answers(n: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(n, 3)) * [1, 10, 0.1] + [0, 100, 0]


def test_from_one_yes_or_no_whoever_has_it_more_often_is_told_to_have_it() -> None:
    output = np.repeat([0.0, 0.0, 1.0, 1.0], [30, 10, 10, 50])[:, None]
    labels = np.repeat([False, True, False, True], [30, 10, 10, 50])[:, None]
    given = np.array([[0.0], [1.0]])
    assert from_decisions(output, labels, output, labels, given).tolist() == [[False], [True]]
    # A rare one is seldom more likely than not, and one of three is more than one of four.
    rare = np.repeat([False, True, False, True], [30, 10, 40, 20])[:, None]
    assert from_decisions(output, rare, output, rare, given).tolist() == [[False], [True]]
    # Where validation people say that no cut is better than a constant, even odds decide.
    alike = np.zeros_like(rare)
    assert from_decisions(output, rare, output, alike, given).tolist() == [[False], [False]]


def most_correlation(share: float, apart: float) -> float:
    """Give the highest MCC of a cut through two normal distributions of deviation 1, that far apart."""
    cut = np.linspace(-5, 5, 10001)
    hit, false = norm.sf(cut - apart), norm.sf(cut)
    called = share * hit + (1 - share) * false
    return float((share * (1 - share) * (hit - false) / np.sqrt(share * (1 - share) * called * (1 - called))).max())


def test_a_rare_attribute_is_told_as_well_as_the_best_cut_tells_it() -> None:
    def drawn(seed: int) -> tuple[NDArray[np.float64], Bools]:
        generator = np.random.default_rng(seed)
        labels = generator.random((60_000, 1)) < 0.02
        return labels + generator.normal(size=labels.shape), labels

    (outputs, known), (held, marked), (others, truth) = (drawn(seed) for seed in range(3))
    told = from_decisions(outputs, known, held, marked, others)
    best = most_correlation(0.02, 1.0)
    assert utility(told, truth, np.arange(len(truth)), ("rare",))[0].value == pytest.approx(best, abs=0.02)


def test_who_may_have_a_rare_attribute_is_told_from_features_though_most_have_it_not(
    pack: oneway.Pack, place: Place
) -> None:
    # All that have it are among those whose features say so, and make a third of these: at even odds nobody is called.
    rng = np.random.default_rng(0)
    suspects = rng.random(len(pack.pixels)) < 0.3
    changed = with_labels(pack, "Smiling", suspects & (rng.random(len(pack.pixels)) < 1 / 3))
    features = {
        part.split: np.repeat(suspects[part.rows, None], 6, axis=1).astype(np.float32)
        for part in (changed.public, changed.validation, changed.test)
    }
    access = FeatureDump(features, torch.device("cpu"))
    fitted = infer(access, changed.public, changed.validation, ("Smiling",), QUICK, place)
    told = predict_attributes(access, fitted.network, changed.test)[:, 0]
    np.testing.assert_array_equal(told, suspects[changed.test.rows])


def test_an_attribute_that_is_a_sum_of_markedis_told_and_another_is_not() -> None:
    outputs, held, others = answers(600, 0), answers(500, 2), answers(400, 1)

    def truth(given: NDArray[np.float64]) -> Bools:
        coin = np.random.default_rng(len(given)).random(len(given)) < 0.5
        return np.stack([given[:, 0] + 10 * given[:, 2] > 0, coin], axis=1)

    right = from_decisions(outputs, truth(outputs), held, truth(held), others) == truth(others)
    assert right[:, 0].mean() > 0.97
    assert 0.4 < right[:, 1].mean() < 0.6


def test_neither_the_units_of_an_answer_nor_one_that_never_varies_matter() -> None:
    outputs, others = answers(200, 0), answers(100, 1)
    labels = (outputs[:, :1] + np.random.default_rng(2).normal(size=(200, 1))) > 0
    told = from_decisions(outputs, labels, outputs, labels, others)
    scaled = -1e3 * outputs + 7
    np.testing.assert_array_equal(told, from_decisions(scaled, labels, scaled, labels, -1e3 * others + 7))
    constant = np.full((200, 1), 4.0)
    more = np.hstack([outputs, constant])
    np.testing.assert_array_equal(told, from_decisions(more, labels, more, labels, np.hstack([others, constant[:100]])))


def test_a_label_of_one_kind_is_told_of_everybody() -> None:
    outputs, labels = answers(50, 0), np.ones((50, 2), dtype=np.bool_)
    labels[:, 1] = False
    assert (from_decisions(outputs, labels, outputs, ~labels, answers(9, 1)) == [True, False]).all()
