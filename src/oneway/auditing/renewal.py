"""The steps of an audit in which the features of the same people by another encoder are stolen too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lightning_fabric import Fabric
from torch import nn

from oneway.attacks import feature, kernel
from oneway.attacks.fit import Place
from oneway.attacks.linkage import Components
from oneway.attacks.panel import LINEAR
from oneway.attacks.renewal import Together, components_of, linked_by, mapped
from oneway.auditing import guards, reconstruction
from oneway.auditing.config import AuditConfig
from oneway.auditing.context import AuditContext
from oneway.auditing.inference import alone, best_way
from oneway.auditing.linking import centred, sides
from oneway.auditing.stealing import Stolen, steal
from oneway.auditing.steps import StepResult, refused
from oneway.auditing.victim import Victim, from_dump, from_onnx, from_run
from oneway.errors import InputError
from oneway.protection.run import Run
from oneway.storage import runs

THIS, BOTH = "this encoder", "both"
RENEWAL = {
    THIS: "inversion linear",
    "the other encoder": "renewal, the other alone",
    BOTH: "renewal, both",
}
"""The steps of who draws from the features of this encoder, of the other, and of both, all by ridge regression."""
FOLDER = "renewed"
"""Where the other encoder's features are kept while the audit lasts, in the folder of those of this one."""


def open_other(config: AuditConfig, victim: Victim, fabric: Fabric, network: nn.Module | None = None) -> Victim | None:
    """Open the encoder that `AuditConfig.renewed` names, if it names any; `network` is the module of one's own.

    Raises:
        InputError: if it is none, of another pack, the audited one itself, or one whose answers depend on the batch.

    """
    if config.renewed is None:
        return None
    path, pack = Path(config.renewed), victim.pack
    if not path.exists():
        raise InputError(
            f"renewed = {config.renewed!r} does not exist; give the folder of another finished `oneway protect`, "
            "another ONNX file, or the stored features of another encoder"
        )
    if path.suffix.lower() == ".onnx":
        other = from_onnx(path, pack, config.pixels, config.output)
    elif (path / runs.CONFIG).exists():
        other = from_run(Run.open(path, pack), fabric, network, seed=config.seed)
    else:
        other = from_dump(path, pack)
    if other.identity["hash"] == victim.identity["hash"]:
        raise InputError(
            f"renewed = {config.renewed!r} is the audited encoder itself, so nothing was renewed; give one that was "
            "trained anew, such as by `oneway protect PACK --seed 1 --out NEW`"
        )
    guards.check_company(other.encoder, pack, fabric.device)
    return other


def linked(context: AuditContext, place: Place, found: Mapping[str, StepResult]) -> StepResult:
    """Link the features of test people by one encoder to other pictures of them by the other; the best way counts.

    What people have in common in the components of both is learnt; one encoder's features are mapped onto the other's
    components, either way round; and what is predicted of each judge's features from one is compared with what is
    predicted from the other.
    """
    pack, seed = context.pack, context.config.seed
    if context.other is None:
        return refused("no other encoder was given; train one with another seed, and give --set renewed=OTHER_RUN")
    if pack.test.num_people == len(pack.test):
        return refused(f"{alone(pack.test)}, so there are no features to link to")
    ours, theirs = context.stolen, _stolen(context, context.other, place)
    guards.check_features(theirs.access, pack)
    own, other = _components(context, ours, theirs), _components(context, theirs, ours)
    ways = linked_by(own, other, pack)
    for onto, source, components in (("this encoder", theirs, own), ("the other", ours, other)):
        every = mapped(source.pairs(pack.public, seed), components, pack)
        ways |= {f"mapped onto {onto}, {name}": way for name, way in every.items()}
    stolen, known = sides(ways, pack)
    for judge in context.judges:
        predicted = found[judge.key("feature")].arrays
        if "vectors test" not in predicted:
            continue
        real = {part.split: judge.known(part) for part in (pack.public, pack.validation)}
        solved = feature.solve(kernel.regress, theirs.pairs(pack.public, seed), pack.validation, real).network
        parts = (pack.validation, pack.test)
        way = f"verifier features, by {judge.name}"
        stolen[way] = centred({part.split: predicted[f"vectors {part.split}"] for part in parts})
        known[way] = centred({part.split: feature.predict(theirs.access, solved, part) for part in parts})
    return best_way(stolen, known, pack)


def within(context: AuditContext, place: Place) -> StepResult:
    """Link the features of test people to other pictures of them by the same encoder, one answer each.

    The measure of what is linked across two encoders: there too, both features are stolen.
    """
    if context.other is None or context.pack.test.num_people == len(context.pack.test):
        return refused("nothing is linked across two encoders")
    own = _components(context, context.stolen, _stolen(context, context.other, place))
    return best_way(*sides(linked_by(own, own, context.pack), context.pack), context.pack)


def _components(context: AuditContext, stolen: Stolen, beside: Stolen) -> Components:
    """Give the components of an encoder's single answers, of public pictures that both encoders can be sent."""
    access = Together((stolen.access,), mirrored=beside.access.mirrors)
    return components_of(access, context.pack, seed=context.config.seed)


def drawn(context: AuditContext, place: Place, *, both: bool) -> StepResult:
    """Draw faces by ridge regression from the other encoder's features of each test picture, alone or with ours."""
    if context.other is None:
        return refused("no other encoder was given")
    ours, theirs = context.stolen, _stolen(context, context.other, place)
    stolen = replace(theirs, white=None, averaged=None)
    if both:
        access = Together((ours.access, theirs.access))
        noisy = ours.noisy or theirs.noisy
        fitted_on = Together((ours.fitted_on, theirs.fitted_on)) if noisy else access
        stolen = Stolen(access=access, fitted_on=fitted_on, noisy=noisy, white=None, averaged=None)
    attacker = replace(LINEAR, seed=context.config.seed)
    return reconstruction.inversion(replace(context, stolen=stolen), place, attacker, attacker.name)


def _stolen(context: AuditContext, other: Victim, place: Place) -> Stolen:
    """Give the features of the other encoder, which are asked for once; its noise is not that of this one."""
    folder, config = context.steps.home / "features" / FOLDER, context.config
    return steal(other, place.fabric, folder, draws=config.draws, seed=config.seed + 1, progress=place.progress)
