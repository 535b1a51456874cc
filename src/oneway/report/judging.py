"""What judges of faces see, as typed values: how good each is on real pictures, and what it sees in reconstructions."""

from __future__ import annotations

from dataclasses import dataclass

from oneway.config import record
from oneway.metrics.estimate import Estimate
from oneway.report.values import OrRefused, ValidationScore


@record
@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Mean cosine of a judge's features of two pictures of one test person, of two, and of the mean face and one.

    Of a judge of pictures: of a picture and the same slightly changed, of two, and of the mean picture and one.
    """

    same: float | None
    different: float | None
    mean_picture: float


@record
@dataclass(frozen=True, kw_only=True)
class Recognised:
    """How many reconstructions a judge takes for the person, at one false accept rate.

    Attributes:
        false_accept_rate: share of pairs of different validation people above the threshold.
        threshold: that cosine; none where they are too few to find it, and then there are no shares.
        people_needed: how many validation people would do to find it; none where they do.
        true_accept_rate: share of pairs of real pictures of one test person above it.
        share: of the reconstructions above it.
        floor: the same of the mean face.
        control: the same of reconstructions from the unprotected encoder.

    """

    false_accept_rate: float
    threshold: float | None
    people_needed: int | None = None
    true_accept_rate: Estimate | None
    share: Estimate | None
    floor: Estimate | None
    control: Estimate | None


@record
@dataclass(frozen=True, kw_only=True)
class JudgedPictures:
    """What one judge sees in the reconstructions.

    Attributes:
        attacker: the strongest, as this judge found on validation people.
        picture_similarity: its mean cosine between reconstructions and originals.
        floor: the same of the mean face.
        control: the same from the unprotected encoder.
        leakage: the share of that which is left.
        excess: what that is above the leakage of the task's decisions alone; of the attackers that count.
        recognised: at each false accept rate.
        found_first: share of the reconstructions to which, of all test pictures, the original is the most similar, as a
            judge of pictures sees them; by chance it is one of all test pictures.
        validation: its mean cosine on validation people, by which a setting may be chosen.

    """

    attacker: str
    picture_similarity: Estimate
    floor: Estimate
    control: Estimate | None
    leakage: OrRefused[Estimate]
    excess: OrRefused[Estimate] | None = None
    recognised: list[Recognised]
    found_first: Estimate | None = None
    validation: ValidationScore | None = None


@record
@dataclass(frozen=True, kw_only=True)
class PredictedFeatures:
    """What attackers, who know the judge, predict of its features of the picture.

    Attributes:
        counts: whether leakage and the figures of features are of this judge: the worst.
        strongest: the way that predicts best, as validation people find.
        similarity: mean cosine between predicted and true features.
        floor: the same of the mean of the public pictures' features.
        control: the same from the unprotected encoder.
        leakage: the share of that which is left.
        excess: what that is above the leakage of the task's decisions alone.
        gained: what a kernel regression gained in similarity from the second half of the public people, over what it
            predicts from the pictures of half of them, drawn at random: who holds twice as many gains about as much
            again, or rather less. Its interval is over test people alone.
        validation: the similarity on validation people, by which a setting may be chosen.

    """

    counts: bool
    strongest: str
    similarity: Estimate
    floor: Estimate
    control: Estimate | None
    leakage: OrRefused[Estimate]
    excess: OrRefused[Estimate] | None = None
    gained: Estimate | None = None
    validation: ValidationScore | None = None


@record
@dataclass(frozen=True, kw_only=True)
class JudgeReport:
    """How good a judge of faces is on real test pictures, which bounds what its scores can show.

    Attributes:
        name: for people.
        fingerprint: by which it is told from others; none for one that cannot be.
        false_accept_rate: share of pairs of different validation people above the threshold.
        threshold: that cosine; none where they are too few to find it.
        true_accept_rate: share of pairs of pictures of one test person above it; of a judge of pictures, of pairs of a
            picture and the same slightly changed (shifted, cropped and brightened).
        of_pictures: whether it tells pictures apart, whatever they show, instead of people.
        found_first: share of slightly changed test pictures to which, of all test pictures, the original is the most
            similar; of judges of pictures alone.
        similarity: of its features.
        blind: why it cannot tell who is shown; none where it can, or nobody can say.
        trained_with: whether attackers trained with it, so that what it sees is an upper bound.
        counts: whether leakage of faces and their figures are by this judge: the worst, of attackers who did not train
            with it, or where it is the only one of all.
        pictures: what it sees in the reconstructions of the strongest attacker.
        independent: the same of the strongest of those who did not train with it; none where nobody did, or where it is
            the only judge.
        features: what is predicted of its features; none where that was left out.

    """

    name: str
    fingerprint: str | None
    false_accept_rate: float
    threshold: float | None
    true_accept_rate: Estimate | None
    similarity: Similarity
    of_pictures: bool = False
    found_first: Estimate | None = None
    blind: str | None = None
    trained_with: bool = False
    counts: bool = True
    pictures: JudgedPictures | None = None
    independent: JudgedPictures | None = None
    features: PredictedFeatures | None = None

    @property
    def told_apart(self) -> str:
        """What it is to tell."""
        return "pictures apart" if self.of_pictures else "who is shown"

    def seen(self) -> list[tuple[str, bool, JudgedPictures]]:
        """Give what it sees: of whom, whether that counts, and the figures; those that count first."""
        every = "upper bound: attackers trained with it" if self.trained_with else "no attacker trained with it"
        rows = [
            ("attackers who did not train with it", self.counts, self.independent),
            (every, self.counts and self.independent is None, self.pictures),
        ]
        return [(whose, counts, faces) for whose, counts, faces in rows if faces is not None]

    @property
    def counted(self) -> JudgedPictures | None:
        """What it sees of attackers who did not train with it, or where there is no such figure, of all."""
        return self.independent or self.pictures

    @property
    def validation(self) -> dict[str, ValidationScore]:
        """What leakage is made of by this judge, as validation people have it."""
        told = {"picture_similarity": self.counted, "feature_similarity": self.features}
        return {name: each.validation for name, each in told.items() if each and each.validation}

    @property
    def figures(self) -> dict[str, Estimate]:
        """What it sees of those attackers, and what is predicted of its features, as limits name them."""
        seen = self.counted
        rates = {} if seen is None else {each.false_accept_rate: each.share for each in seen.recognised}
        told = {
            "picture_similarity": None if seen is None else seen.picture_similarity,
            "recognised": rates.get(self.false_accept_rate),
            "found_first": None if seen is None else seen.found_first,
            "feature_similarity": None if self.features is None else self.features.similarity,
        }
        return {name: found for name, found in told.items() if found is not None}

    @property
    def leakages(self) -> dict[str, Estimate]:
        """The leakages of reconstructions and of features by this judge, as far as there are any."""
        shares = {
            "picture_similarity": None if self.counted is None else self.counted.leakage,
            "feature_similarity": None if self.features is None else self.features.leakage,
        }
        return {name: share for name, share in shares.items() if isinstance(share, Estimate)}
