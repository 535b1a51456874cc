"""The steps of an audit: each attack run on what was stolen, scored picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway.attacks import feature, inference, information, linkage, optimisation
from oneway.attacks.access import Access, all_features
from oneway.attacks.fit import Fitted, Place
from oneway.attacks.floors import nearest_by_output
from oneway.attacks.inversion import AnyDecoder, InversionConfig, attackers, draw_decoder, invert, reconstruct
from oneway.attacks.linear import chosen_rows, draw
from oneway.auditing.config import AuditConfig
from oneway.auditing.linked import link
from oneway.auditing.steps import Found, Steps, refused
from oneway.auditing.victim import Stolen, Victim
from oneway.data.batches import load, mean_picture
from oneway.data.packed import Pack, Part, Test, Validation
from oneway.judge import UNITS, Judge, Scores, in_batches
from oneway.metrics import scatter
from oneway.metrics.classification import confusion
from oneway.metrics.information import ceiling, info_nce
from oneway.models.decoder import Standardise
from oneway.models.perceptual import open_perceptual

SHOWN = 8
"""Test people whose pictures the report shows."""
COMPARED = 2000
"""Test pictures at most by which information is bounded: all their pairs are compared."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """Everything that a step of an audit needs."""

    victim: Victim
    stolen: Stolen
    judge: Judge
    config: AuditConfig
    steps: Steps

    @property
    def pack(self) -> Pack:
        """The people of the audit."""
        return self.victim.pack


def measure(room: Room) -> dict[str, Found]:
    """Take every step of the audit, or find it taken; gives what each found, by name."""
    found: dict[str, Found] = {}

    def take(name: str, make: Callable[..., Found], *given: Any) -> None:
        found[name] = room.steps.take(name.replace(" ", "-"), lambda place: make(room, place, *given))

    take("floors", _floors)
    take("inversion linear", _linear)
    configs = attackers()
    for name in room.config.attackers:
        for turn in range(room.config.seeds):
            label = name if room.config.seeds == 1 else f"{name}-{turn + 1}"
            config = _budget(room, replace(configs[name], seed=room.config.seed + turn))
            take(f"inversion {label}", _inversion, config, label)
    take("feature", _feature)
    take("linkage", _linkage, found)
    take("scatter", _scatter)
    take("inference", _inference)
    take("information", _information)
    take("optimisation", _optimisation)
    take("averaging", _averaging)
    for number in room.config.queries:
        if number < len(room.pack.public):
            take(f"queries {number}", _queried, number)
    return found


def _budget(room: Room, config: InversionConfig) -> InversionConfig:
    steps = room.config.steps
    if steps is None:
        return config
    return replace(config, max_steps=min(steps, config.max_steps), check_every=min(config.check_every, steps))


def shown(pack: Pack) -> NDArray[np.int64]:
    """Choose one picture each of test people spread evenly over the split, not picked: (at most 8,)."""
    first = np.unique(pack.test.identities, return_index=True)[1]
    spread = np.linspace(0, len(first) - 1, min(SHOWN, len(first))).astype(np.int64)
    chosen: NDArray[np.int64] = np.sort(first)[spread]
    return chosen


def _floors(room: Room, _: Place) -> Found:
    """Score attackers who know nothing, or the task's output alone."""
    pack, judge = room.pack, room.judge
    chosen = {
        "random_public_face": np.random.default_rng(room.config.seed).integers(len(pack.public), size=len(pack.test))
    }
    if room.victim.outputs is not None:
        outputs = room.victim.outputs
        chosen["nearest_by_output"] = nearest_by_output(
            outputs["test"] > 0, outputs["public"] > 0, seed=room.config.seed
        )
    mean = mean_picture(pack.public, torch.device("cpu"))
    scores = {"mean_face": judge.measure(_repeated(mean, pack.test), pack.test)}
    for name, index in chosen.items():
        scores[name] = judge.measure(_chosen(index, pack), pack.test)
    arrays = {f"{floor} {name}": values for floor, named in scores.items() for name, values in named.items()}
    if judge.verifier is not None:
        constant = judge.known(pack.public).mean(axis=0)
        constant /= max(float(np.linalg.norm(constant)), 1e-12)
        arrays["mean_feature feature_similarity"] = (judge.known(pack.test) @ constant).astype(np.float64)
    return Found(facts={}, arrays=arrays)


def _inversion(room: Room, place: Place, config: InversionConfig, label: str, access: Access | None = None) -> Found:
    """Train one inversion attacker and score it; which of them counts is chosen later."""
    access = room.stolen.access if access is None else access
    fitted = _fit(room, place, access, config, label, None)
    return _drawn(room, access, fitted, place, len(room.pack.public) * (2 if access.mirrors else 1))


def _fit(
    room: Room,
    place: Place,
    access: Access,
    config: InversionConfig,
    label: str,
    rows: NDArray[np.int64] | None,
) -> Fitted[AnyDecoder]:
    """Train a decoder from scratch."""
    pack = room.pack
    decoder = draw_decoder(config, access.shape, room.victim.stages, pack.size)
    perceptual = None
    if config.perceptual and room.config.perceptual is not None:
        perceptual = open_perceptual(room.config.perceptual).to(place.fabric.device)
    return invert(
        access, pack.public, pack.validation, decoder, config, place, perceptual=perceptual, rows=rows, name=label
    )


def _linear(room: Room, place: Place) -> Found:
    """Solve the attacker whom no optimiser can fail, and to whom no other should lose."""
    access, pack = room.stolen.access, room.pack
    fitted = draw(access, pack.public, pack.validation, place, seed=room.config.seed)
    return _drawn(room, access, fitted, place, len(chosen_rows(pack.public, room.config.seed)))


def _drawn(room: Room, access: Access, fitted: Fitted[Any], place: Place, queries: int) -> Found:
    """Score a decoder on validation people, by whom attackers are chosen, and on test people."""
    pack, judge, decoder = room.pack, room.judge, fitted.network
    names = ("mse", "face_similarity", "vectors")
    validation = judge.measure(_decoded(access, decoder, pack.validation, place), pack.validation, names)
    test = judge.measure(_decoded(access, decoder, pack.test, place), pack.test, (*UNITS, "vectors"))
    vectors = {
        f"vectors {split}": scores.pop("vectors")
        for split, scores in (("validation", validation), ("test", test))
        if "vectors" in scores
    }
    best = _best_recovered(test, pack.test)
    drawn = {"people": shown(pack), "best": best}
    return Found(
        facts=course(fitted)
        | {"queries": queries, "validation": {name: float(values.mean()) for name, values in validation.items()}},
        arrays=test
        | vectors
        | {f"pictures {name}": _pixels(access, decoder, pack.test, index, place) for name, index in drawn.items()}
        | {"index best": best},
    )


def course(fitted: Fitted[Any]) -> dict[str, Any]:
    """Say how an attacker's training went."""
    return {
        "converged": fitted.converged,
        "steps": fitted.steps,
        "validation_error": fitted.validation_error,
    }


def _best_recovered(scores: Scores, test: Test) -> NDArray[np.int64]:
    """Find the test people best recovered, one picture each, the best first."""
    value = scores.get("face_similarity", -scores["mse"])
    order = np.argsort(-value, kind="stable")
    first = np.unique(test.identities[order], return_index=True)[1]
    best: NDArray[np.int64] = order[np.sort(first)[:SHOWN]]
    return best


def _feature(room: Room, place: Place) -> Found:
    """Map stolen features to the verifier's (eq. 10), by a trained network and by a solved one; the better counts."""
    if room.judge.verifier is None:
        return refused("there is no verifier whose features could be predicted")
    pack, judge, access = room.pack, room.judge, room.stolen.access
    known = {part.split: judge.known(part) for part in (pack.public, pack.validation)}
    config = replace(room.config.feature, **_short(room, room.config.feature))
    ways: dict[str, Fitted[Any]] = {
        "linear": feature.solve(access, pack.public, pack.validation, known, place, seed=room.config.seed),
        "network": feature.learn(access, pack.public, pack.validation, known, config, place),
    }
    strongest = min(ways, key=lambda name: ways[name].validation_error)
    arrays: dict[str, NDArray[Any]] = {
        f"vectors {part.split}": feature.predict(access, ways[strongest].network, part)
        for part in (pack.validation, pack.test)
    }
    arrays["feature_similarity"] = np.einsum(
        "nd,nd->n", arrays["vectors test"], judge.known(pack.test), dtype=np.float64
    )
    facts = {name: course(fitted) for name, fitted in ways.items()}
    return Found(facts=course(ways["network"]) | {"strongest": strongest, "ways": facts}, arrays=arrays)


def _linkage(room: Room, _: Place, found: dict[str, Found]) -> Found:
    """Compare stolen features with photographs of the same people, in several ways; the best counts."""
    pack, access = room.pack, room.stolen.access
    if pack.test.num_people == len(pack.test):
        return refused("no test person appears twice, so there is no photograph to link to")
    cosine = linkage.Cosine(access, pack.public)
    ways: dict[str, Callable[[Part], linkage.Vectors]] = {"cosine": cosine}
    if pack.public.num_people < len(pack.public):
        ways["discriminant"] = linkage.Discriminant(access, cosine, pack.public, seed=room.config.seed)
    stolen = {name: {part.split: way(part) for part in (pack.validation, pack.test)} for name, way in ways.items()}
    photographs = dict(stolen)
    # What is made of stolen features to look like a face, or like a verifier's view of one, is compared with faces.
    drawn = {
        f"reconstruction by {name.removeprefix('inversion ')}": step
        for name, step in found.items()
        if name.startswith("inversion ")
    }
    for name, step in {"verifier features": found["feature"], **drawn}.items():
        if "vectors test" in step.arrays:
            mean = step.arrays["vectors validation"].mean(axis=0)
            real = room.judge.known(pack.validation).mean(axis=0)
            stolen[name] = {
                split: linkage.normalise(step.arrays[f"vectors {split}"] - mean) for split in ("validation", "test")
            }
            photographs[name] = {
                part.split: linkage.normalise(room.judge.known(part) - real) for part in (pack.validation, pack.test)
            }
    linked = {name: link(stolen[name], photographs[name], pack) for name in stolen}
    strongest = max(linked, key=lambda name: linked[name].strength)
    facts = {name: one.facts for name, one in linked.items()}
    result = linked[strongest].facts | {"strongest": strongest, "ways": facts, "by_output": None}
    if room.victim.outputs is not None:
        outputs = room.victim.outputs
        mean, deviation = outputs["public"].mean(axis=0), outputs["public"].std(axis=0) + 1e-6
        told = {split: linkage.normalise((outputs[split] - mean) / deviation) for split in ("validation", "test")}
        result["by_output"] = link(told, told, pack).facts
    return Found(facts=result, arrays=linked[strongest].arrays)


def _scatter(room: Room, _: Place) -> Found:
    """Measure how features gather by person (Table 3)."""
    test = room.pack.test
    if test.num_people == len(test):
        return refused("no test person appears twice, so there is no scatter within a person")
    flat = all_features(room.stolen.access, test).reshape(len(test), -1)
    measured = {name: value.to_dict() for name, value in scatter.scatter(flat, test.identities).items()}
    return Found(facts=measured | {"chance": scatter.chance(flat, test.identities, seed=room.config.seed)})


def _inference(room: Room, place: Place) -> Found:
    """Infer attributes that were not the task, from features and from the task's output alone."""
    pack = room.pack
    asked = tuple(name for name in pack.attributes if room.victim.task is None or name not in room.victim.task)
    if not asked:
        return refused(
            "the pack has no attributes"
            if not pack.attributes
            else "every attribute of the pack is the encoder's task, so there is none to infer that it should not tell"
        )
    config = replace(room.config.inference, **_short(room, room.config.inference))
    access = room.stolen.access
    fitted = inference.infer(access, pack.public, pack.validation, asked, config, place)
    predicted = inference.predict_attributes(access, fitted.network, pack.test)
    labels = pack.test.labels(asked)
    arrays = {"confusion": confusion(predicted, labels)}
    outputs = room.victim.outputs
    if outputs is not None:
        told = inference.from_output(outputs["public"], pack.public.labels(asked), outputs["test"])
        arrays["confusion output"] = confusion(told, labels)
    return Found(facts=course(fitted) | {"attributes": list(asked)}, arrays=arrays)


def _information(room: Room, place: Place) -> Found:
    """Bound the information between picture and features from below."""
    pack, access = room.pack, room.stolen.access
    config = replace(room.config.information, **_short(room, room.config.information))
    critic = information.new_critic(access.shape, pack.size, config)
    fitted = information.learn(access, pack.public, pack.validation, critic, config, place)
    # All pairs of the scored pictures are compared, so of many people only some are.
    index = np.sort(np.random.default_rng(room.config.seed).permutation(len(pack.test))[:COMPARED])
    bits = info_nce(information.score(access, fitted.network, pack.test, index, place))
    return Found(facts=course(fitted) | {"ceiling": ceiling(len(index))}, arrays={"bits": bits, "index": index})


def _optimisation(room: Room, place: Place) -> Found:
    """Optimise pictures until a known encoder maps them to the stolen features."""
    white, config, pack = room.stolen.white, room.config.optimisation, room.pack
    if white is None:
        return refused("the encoder's weights were not given")
    chosen = optimisation.victims(pack.test, config)
    public = np.sort(np.random.default_rng(room.config.seed).permutation(len(pack.public))[:256])
    standardise = Standardise(room.stolen.access.shape)
    standardise.observe(room.stolen.access.features(pack.public, public).cpu())
    scale = standardise.variance[None].to(place.fabric.device)
    stolen = room.stolen.access.features(pack.test, chosen)
    start = mean_picture(pack.public, place.fabric.device)
    drawn = optimisation.optimise(white, stolen, start, scale, config, progress=place.progress).cpu()
    originals = load(pack.test, chosen)
    scores = room.judge.measure([(drawn, originals)], pack.test, index=chosen)
    return Found(facts={"num_pictures": len(chosen)}, arrays=scores | {"index": chosen})


def _averaging(room: Room, place: Place) -> Found:
    """Attack a noisy encoder by the average of several answers for one picture."""
    if room.stolen.averaged is None:
        return refused("the encoder answers alike each time, so there is nothing to average")
    config = _budget(room, replace(attackers()["mirror"], seed=room.config.seed))
    found = _inversion(room, place, config, "averaging", access=room.stolen.averaged())
    return Found(facts=found.facts | {"draws": room.config.draws}, arrays=found.arrays)


def _queried(room: Room, place: Place, number: int) -> Found:
    """Attack with the features of a few public pictures only."""
    config = _budget(room, replace(attackers()["mirror"], seed=room.config.seed, check_every=100, drops=1))
    chosen = np.sort(np.random.default_rng(room.config.seed).permutation(len(room.pack.public))[:number])
    fitted = _fit(room, place, room.stolen.access, config, f"{number} queries", chosen)
    names = ("mse", "face_similarity", "recognised")
    pictures = _decoded(room.stolen.access, fitted.network, room.pack.test, place)
    return Found(facts=course(fitted) | {"queries": number}, arrays=room.judge.measure(pictures, room.pack.test, names))


def _short(room: Room, config: Any) -> dict[str, int]:
    steps = room.config.steps
    if steps is None:
        return {}
    return {"max_steps": min(steps, config.max_steps), "check_every": min(config.check_every, steps)}


def _decoded(
    access: Access, decoder: nn.Module, part: Validation | Test, place: Place
) -> Iterator[tuple[Tensor, Tensor]]:
    for index in in_batches(part):
        yield reconstruct(access, decoder, part, index, place)


def _repeated(picture: Tensor, part: Test) -> Iterator[tuple[Tensor, Tensor]]:
    for index in in_batches(part):
        pictures = load(part, index)
        yield picture.expand_as(pictures), pictures


def _chosen(index: NDArray[np.int64], pack: Pack) -> Iterator[tuple[Tensor, Tensor]]:
    for batch in in_batches(pack.test):
        yield load(pack.public, index[batch]), load(pack.test, batch)


def _pixels(
    access: Access, decoder: nn.Module, part: Test, index: NDArray[np.int64], place: Place
) -> NDArray[np.uint8]:
    drawn, _ = reconstruct(access, decoder, part, index, place)
    pixels: NDArray[np.uint8] = (drawn.permute(0, 2, 3, 1).cpu().numpy() * 255).round().astype(np.uint8)
    return pixels
