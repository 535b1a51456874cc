"""Features of test people laid out in a plane (Fig. 4), and a number beside the picture: how well they separate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oneway import runs
from oneway.attacks.access import BlackBox, all_features
from oneway.data.packed import Pack
from oneway.experiments.config import ExperimentConfig
from oneway.experiments.line import PROTECTIONS, Line, settings
from oneway.experiments.sweep import Store
from oneway.metrics.separability import separability, standardised
from oneway.protection.run import Run
from oneway.runtime import launch
from oneway.storage import whole

MAP = "map.npz"
COMPONENTS, PERPLEXITY = 50, 30.0
Plain = dict[str, Any]


def lines(config: ExperimentConfig, data: Path) -> list[Line]:
    """List the encoders whose features are laid out: each protection, for all attributes and for a single one."""
    found = []
    for task, changes in (("all attributes", {}), (config.single, {"attributes": (config.single,)})):
        made = settings(config, data, changes=changes)
        for protection in PROTECTIONS:
            title = f"{'unprotected' if protection == 'none' else protection}, {task}"
            found.append(Line(id=title, title=title, protection=protection, setting=made[protection], at=task))
    return found


def row(line: Line, store: Store, config: ExperimentConfig, out: Path, *, seed: int = 0) -> Plain:
    """Lay out the features of a line's encoder, keep their places, and say how well they separate.

    Returns:
        `accuracy.<attribute>` and `silhouette.<attribute>` of features (estimates over test people), for the two
        attributes shown; and `map`, the file of places (n, 2) and labels (n, 2).

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
        found: Plain = {}
        for place, name in enumerate(config.shown):
            each = separability(features, labels[:, place], pack.test.identities)
            found |= {f"{kind}.{name}": estimate.to_dict() for kind, estimate in each.items()}
        with whole(kept) as partial, partial.open("wb") as file:
            np.savez(file, places=places(features, seed=seed), labels=labels)
        runs.write_json(figures, found)
    told = runs.read_json(store.run(line.setting) / runs.RESULTS)
    return {
        "id": line.id,
        "title": line.title,
        "protection": line.protection,
        "at": line.at,
        "paper": {},
        "mean_mcc": told["utility"]["mean_mcc"],
        "run": str(store.run(line.setting).relative_to(store.path)),
        "map": str(kept.relative_to(out)),
        **runs.read_json(figures),
    }


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
