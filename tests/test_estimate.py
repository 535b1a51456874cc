from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from oneway.config import to_dict
from oneway.errors import InputError
from oneway.metrics.estimate import Estimate, by_person, estimate, mean, rarely, share

Values = NDArray[np.float64]
Codes = NDArray[np.int64]


def population(
    seed: int, num_people: int = 40, shots: int = 4, spread: float = 1.0, noise: float = 0.5
) -> tuple[Values, Codes]:
    """Values of `shots` pictures of each person, who differ by `spread`; their true mean is 0."""
    generator = np.random.default_rng(seed)
    people = np.repeat(np.arange(num_people), shots)
    values = generator.normal(0, spread, num_people)[people] + generator.normal(0, noise, len(people))
    return values, people


def width(estimated: Estimate) -> float:
    return estimated.high - estimated.low


def test_sums_over_people_are_those_of_a_loop() -> None:
    generator = np.random.default_rng(0)
    people = generator.choice([3, 7, 40, 41], 30)
    values = generator.normal(size=(30, 5))
    expected = np.zeros((4, 5))
    for row, code in zip(values, people, strict=True):
        expected[[3, 7, 40, 41].index(code)] += row
    np.testing.assert_allclose(by_person(values, people), expected)


def test_sums_over_people_keep_the_total_whatever_the_order() -> None:
    values, people = population(0)
    order = np.random.default_rng(1).permutation(len(people))
    totals = by_person(values[:, None], people)
    np.testing.assert_allclose(totals.sum(), values.sum())
    np.testing.assert_allclose(by_person(values[order, None], people[order]), totals)


def test_the_interval_is_that_of_a_plain_loop_over_people() -> None:
    generator = np.random.default_rng(0)
    shots = generator.integers(1, 7, 50)
    people = np.repeat(np.arange(50), shots)
    values = generator.normal(0, 1, 50)[people] + generator.normal(0, 0.5, len(people))
    pictures = [values[people == person] for person in range(50)]
    means = []
    for _ in range(4000):
        drawn = [pictures[person] for person in generator.integers(0, 50, 50)]
        means.append(np.concatenate(drawn).mean())
    low, high = np.percentile(means, [2.5, 97.5])
    found = mean(values, people, unit="MSE")
    assert found.value == pytest.approx(values.mean())
    assert found.n == 50
    tolerance = 0.1 * (high - low)
    assert found.low == pytest.approx(low, abs=tolerance)
    assert found.high == pytest.approx(high, abs=tolerance)


def test_the_interval_of_any_statistic_is_that_of_a_plain_loop() -> None:
    generator = np.random.default_rng(0)
    totals = np.stack([generator.gamma(2, 1, 60), generator.gamma(5, 1, 60)], axis=1)

    def ratio(sums: Values) -> Values:
        return np.log(sums[..., 0] / sums[..., 1])

    looped = [ratio(totals[generator.integers(0, 60, 60)].sum(axis=0)) for _ in range(4000)]
    low, high = np.percentile(looped, [2.5, 97.5])
    found = estimate(totals, ratio, unit="share")
    assert found.value == pytest.approx(ratio(totals.sum(axis=0)))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_the_interval_covers_the_truth_and_one_over_pictures_does_not() -> None:
    trials = 200
    covered = {"people": 0, "pictures": 0}
    for seed in range(trials):
        values, people = population(seed)
        for name, codes in (("people", people), ("pictures", np.arange(len(people)))):
            found = mean(values, codes, unit="MSE", seed=seed)
            covered[name] += found.low <= 0 <= found.high
    assert covered["people"] / trials > 0.89  # 95 % less what a percentile bootstrap of 40 loses, and chance
    assert covered["pictures"] / trials < 0.75


def test_equal_pictures_of_a_person_tell_no_more_than_one() -> None:
    values, people = population(0, num_people=50, shots=1)
    one = mean(values, people, unit="MSE")
    nine = mean(np.repeat(values, 9), np.repeat(people, 9), unit="MSE")
    assert (nine.value, nine.low, nine.high, nine.n) == pytest.approx((one.value, one.low, one.high, one.n))
    by_picture = mean(np.repeat(values, 9), np.arange(450), unit="MSE")
    assert by_picture.value == pytest.approx(one.value)
    assert width(one) > 2.5 * width(by_picture)


def test_more_people_make_it_narrower_by_the_square_root() -> None:
    few, many = (mean(*population(0, num_people=count), unit="MSE") for count in (50, 800))
    assert 3 < width(few) / width(many) < 5.5


def test_one_seed_draws_the_same_people_for_every_score() -> None:
    values, people = population(0)
    first, second = (mean(values, people, unit="dB") for _ in range(2))
    assert first == second
    shifted = mean(2 * values + 3, people, unit="dB")
    expected = 2 * np.array([first.value, first.low, first.high]) + 3
    np.testing.assert_allclose([shifted.value, shifted.low, shifted.high], expected)
    assert mean(values, people, unit="dB", seed=1).low != first.low


def test_a_constant_is_certain() -> None:
    found = mean(np.full(12, 0.25), np.arange(12) // 3, unit="cosine")
    assert (found.value, found.low, found.high, found.n) == (0.25, 0.25, 0.25, 4)


@pytest.mark.parametrize("num_people", [50, 300])
def test_what_was_never_seen_is_not_said_never_to_be(num_people: int) -> None:
    people = np.repeat(np.arange(num_people), 3)
    never, always = (mean(np.full(len(people), value), people, unit="share") for value in (0.0, 1.0))
    exact = 0.025 ** (1 / num_people)  # the chance of none, or of all, of so many people
    assert (never.value, never.low, never.high) == pytest.approx((0, 0, 1 - exact))
    assert (always.value, always.low, always.high) == pytest.approx((1, exact, 1))


def test_a_rare_share_of_one_case_each_has_the_exact_binomial_interval() -> None:
    counts = np.zeros((200, 2))
    counts[:, 1], counts[:3, 0] = 1, 1
    exact = binomtest(3, 200).proportion_ci(0.95, method="exact")
    assert rarely(counts) == pytest.approx((exact.low, exact.high), rel=0.01)
    found = share(counts)
    assert found.high == pytest.approx(exact.high, rel=0.01)
    counts[:40, 0] = 1
    assert rarely(counts) is None
    assert share(counts) == estimate(counts, lambda sums: sums[:, 0] / sums[:, 1], unit="share")


@pytest.mark.parametrize(("num_people", "part"), [(50, 0.01), (50, 0.02), (300, 0.003)])
def test_the_interval_of_a_rare_share_holds_it(num_people: int, part: float) -> None:
    generator = np.random.default_rng(1)
    people = np.repeat(np.arange(num_people), 3)
    found = [mean((generator.random(len(people)) < part).astype(float), people, unit="share") for _ in range(200)]
    assert np.mean([each.low <= part <= each.high for each in found]) > 0.93


def test_nobody_is_refused() -> None:
    with pytest.raises(InputError, match="at least one person"):
        estimate(np.zeros((0, 2)), lambda sums: sums[:, 0], unit="share")


def test_it_reads_with_its_interval_and_its_digits() -> None:
    given = {"value": 0.12345, "low": 0.1, "high": 0.2, "n": 3, "unit": "SSIM"}
    assert str(Estimate(**given)) == "0.123 [0.100, 0.200]"  # type: ignore[arg-type]
    assert str(Estimate(value=17.26, low=16.0, high=18.04, n=3, unit="dB")) == "17.3 [16.0, 18.0]"
    assert to_dict(Estimate(**given)) == given  # type: ignore[arg-type]
