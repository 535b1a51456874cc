"""Every figure that is measured, by name: its title, its unit, which way is safer, and how it is computed.

Tables, the page, limits and sweeps are made from this. Another package adds a figure of reconstructions by an entry
point of the group `oneway.metrics` that names a `Metric` with a `measure`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from oneway.metrics import image
from oneway.plugins import Unfit, blamed, registered

GROUP = "oneway.metrics"
Safer = Literal["low", "high"]
Measure = Callable[[Tensor, Tensor], NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure.

    Attributes:
        name: its key in results.
        title: how it is called in tables.
        unit: see `metrics.estimate.Estimate`.
        safer: whether a `low` or a `high` value gives less away.
        attack: the attack that it is a figure of; `inversion` for those of reconstructions.
        measure: for one of reconstructions: maps these and the originals, both (n, 3, size, size) in 0..1, to (n,).
            Without, whoever runs the attack computes it.
        corrected: whether it is of reconstructions after `image.affine`.
        limited: whether a limit can be put on its upper end.

    """

    name: str
    title: str
    unit: str
    safer: Safer = "low"
    attack: str = "inversion"
    measure: Measure | None = None
    corrected: bool = False
    limited: bool = True

    @property
    def label(self) -> str:
        """The title with an arrow towards what is safer."""
        return f"{self.title} {'↓' if self.safer == 'low' else '↑'}"


def _psnr(drawn: Tensor, originals: Tensor) -> NDArray[Any]:
    return image.psnr(image.mse(drawn, originals))


_OWN = (
    Metric(name="picture_similarity", title="face similarity", unit="cosine"),
    Metric(name="recognised", title="recognised at FAR 1e-3", unit="share"),
    Metric(name="found_first", title="original found first", unit="share"),
    Metric(name="ssim", title="SSIM", unit="SSIM", measure=image.ssim),
    Metric(name="psnr", title="PSNR, dB", unit="dB", measure=_psnr),
    Metric(name="perceptual_distance", title="perceptual distance", unit="distance", safer="high", limited=False),
    Metric(name="mse", title="MSE", unit="MSE", safer="high", measure=image.mse, limited=False),
    Metric(name="ssim_affine", title="SSIM, colours corrected", unit="SSIM", measure=image.ssim, corrected=True),
    Metric(name="psnr_affine", title="PSNR, colours corrected", unit="dB", measure=_psnr, corrected=True),
    Metric(name="feature_similarity", title="feature similarity", unit="cosine", attack="feature"),
    Metric(name="tar_at_far_1e-2", title="linked, TAR at FAR 1e-2", unit="share", attack="linkage"),
    Metric(name="tar_at_far_1e-3", title="linked, TAR at FAR 1e-3", unit="share", attack="linkage"),
    Metric(name="tar_at_far_1e-4", title="linked, TAR at FAR 1e-4", unit="share", attack="linkage"),
    Metric(name="rank_1", title="linked, rank 1", unit="share", attack="linkage"),
    Metric(name="rank_5", title="linked, rank 5", unit="share", attack="linkage"),
    Metric(name="d_sys", title="linkable, D_sys", unit="D_sys", attack="linkage"),
    Metric(name="maximal_linkability", title="maximal linkability, bits", unit="bits", attack="linkage"),
    Metric(name="lda_score", title="LDA score", unit="ratio", attack="scatter", limited=False),
    Metric(name="inferred_mcc", title="inferred: mean MCC", unit="MCC", attack="inference", limited=False),
    Metric(name="bits", title="information, bits at least", unit="bits", attack="information"),
    Metric(name="most_bits", title="one answer, bits at most", unit="bits", attack="capacity"),
    Metric(name="most_bits_averaged", title="several answers averaged, bits at most", unit="bits", attack="capacity"),
    Metric(
        name="least_mse",
        title="MSE of unbiased attackers, at least",
        unit="MSE",
        safer="high",
        attack="bound",
        limited=False,
    ),
)


@cache
def metrics() -> dict[str, Metric]:
    """Give every figure by name, those of other packages last.

    Raises:
        InputError: for another package's that cannot be used: naming the package and the entry point.

    """
    own = {metric.name: metric for metric in _OWN}
    return {name: metric if name in own else _held(metric) for name, metric in registered(GROUP, Metric, own).items()}


def _held(metric: Metric) -> Metric:
    """Hold another package's figure to what it must be, now and whenever it is measured."""
    given = metric.measure

    def measure(drawn: Tensor, originals: Tensor) -> NDArray[Any]:
        with blamed(GROUP, metric.name):
            values = given(drawn, originals) if given is not None else None
            if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
                raise Unfit(f"must measure numbers in a NumPy array, not {type(values).__name__}")
            if values.shape != (len(drawn),):
                raise Unfit(f"must measure one number a picture, ({len(drawn)},), not {values.shape}")
            if not np.isfinite(values).all():
                raise Unfit(f"measures {values[~np.isfinite(values)][0]}, which is no finite number")
        return values

    with blamed(GROUP, metric.name):
        if given is None or metric.attack != "inversion":
            raise Unfit("must be a figure of reconstructions, with a `measure` and without an `attack`")
        if metric.safer not in get_args(Safer):
            raise Unfit(f"must have safer='low' or safer='high', not {metric.safer!r}")
        if not (metric.title and metric.unit):
            raise Unfit("must have a title and a unit, which tables show")
    return replace(metric, measure=measure)


def of_reconstructions() -> dict[str, Metric]:
    """Give the figures of reconstructions; face similarity and recognition need a verifier."""
    return {name: metric for name, metric in metrics().items() if metric.attack == "inversion"}
