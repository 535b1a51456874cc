"""Features of test people laid out in a plane (Fig. 4), and a number beside the picture: how well they separate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oneway.attacks.access import BlackBox, all_features
from oneway.config import from_json, record, to_dict
from oneway.data.packed import Pack
from oneway.metrics.separability import separability, standardised
from oneway.protection.run import Run
from oneway.report.sweeps import ExperimentRow
from oneway.report.values import Scores
from oneway.reproduction.config import ExperimentConfig
from oneway.reproduction.line import PROTECTIONS, Line, settings
from oneway.runtime import launch
from oneway.storage import runs
from oneway.storage.atomic import whole
from oneway.storage.inputs import regular
from oneway.sweep.store import Store

MAP = "map.npz"
COMPONENTS, PERPLEXITY = 50, 30.0


@record
@dataclass(frozen=True, kw_only=True)
class Separated:
    """How well features separate the attributes shown: `accuracy.<attribute>` and `silhouette.<attribute>`."""

    scores: Scores


def lines(config: ExperimentConfig, data: Path) -> list[Line]:
    """List the encoders whose features are laid out: each protection, for all attributes and for a single one."""
    found = []
    for task, changes in (("all attributes", {}), (config.single, {"task": (config.single,)})):
        made = settings(config, data, changes=changes)
        for protection in PROTECTIONS:
            title = f"{'unprotected' if protection == 'none' else protection}, {task}"
            found.append(Line(id=title, title=title, protection=protection, setting=made[protection], at=task))
    return found


def row(line: Line, store: Store, config: ExperimentConfig, out: Path, *, seed: int = 0) -> ExperimentRow:
    """Lay out the features of a line's encoder, keep their places, and say how well they separate.

    Returns:
        a row with the scores `accuracy.<attribute>` and `silhouette.<attribute>` of features, for the two attributes
        shown, and the file of places (n, 2) and labels (n, 2).

    """
    folder = out / "maps" / line.setting.run
    kept, figures = folder / MAP, folder / runs.RESULTS
    if not figures.exists():
        pack = Pack.open(line.setting.data)
        run = Run.open(store.run(line.setting), pack)
        fabric = launch(line.setting.protect.runtime)
        access = BlackBox(run.load().encoder.to(fabric.device), fabric, pack.size)
        with access.seeded(seed, "map"):
            features = all_features(access, pack.test).reshape(len(pack.test), -1).astype(np.float64)
        labels = pack.test.labels(config.shown)
        found: Scores = {}
        for place, name in enumerate(config.shown):
            each = separability(features, labels[:, place], pack.test.identities)
            found |= {f"{kind}.{name}": estimate for kind, estimate in each.items()}
        with whole(kept) as partial, partial.open("wb") as file:
            np.savez(file, places=places(features, seed=seed), labels=labels)
        runs.write_json(figures, to_dict(Separated(scores=found)))
    remedy = "delete its folder, and continue with --resume"
    separated = from_json(Separated, regular(figures).read_bytes(), str(figures), remedy)
    return ExperimentRow(
        id=line.id,
        title=line.title,
        protection=line.protection,
        at=line.at,
        paper={},
        scores={"mean_mcc": store.trained(line.setting).utility.value, **separated.scores},
        run=str(store.run(line.setting).relative_to(store.path)),
        map=str(kept.relative_to(out)),
    )


def places(features: NDArray[np.float64], *, seed: int) -> NDArray[np.float32]:
    """Lay out features (n, d) in a plane by t-SNE of their first 50 principal components: (n, 2)."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    scaled = standardised(features)
    components = min(COMPONENTS, *(side - 1 for side in scaled.shape))
    reduced = PCA(max(2, components), random_state=seed).fit_transform(scaled)
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    laid: NDArray[np.float32] = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(reduced)
    return laid
