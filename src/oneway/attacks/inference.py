"""Attribute inference: facts that were not the task, read off the features, or off the task's decisions alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway import losses
from oneway.attacks.access import Access, Bools, mapped_features, sample
from oneway.attacks.fit import Fitted, Place, Schedule, fit
from oneway.config import Count, Positive, checked
from oneway.data.batches import Batches
from oneway.data.packed import Part, Public, Validation
from oneway.errors import InputError
from oneway.metrics.classification import best_thresholds
from oneway.models.head import Head
from oneway.tasks.multiclass import Multiclass
from oneway.tasks.task import Task, targets_of

NAME = "attribute inference"
Floats = NDArray[np.floating]


@checked
@dataclass(frozen=True, kw_only=True)
class InferenceConfig(Schedule):
    """The attacker's probe and how long it is trained.

    Attributes:
        width: channels of its first stage.

    """

    width: Count = 32
    learning_rate: Positive = 1e-3
    max_steps: Count = 1500


def infer(
    access: Access,
    public: Public,
    validation: Validation,
    attributes: tuple[str, ...],
    config: InferenceConfig,
    place: Place,
) -> Fitted[Head]:
    """Train a probe to tell attributes from features, on people whose labels are public.

    Args:
        access: the victim.
        public: the attacker's pictures, with labels.
        validation: other people, whose cross-entropy decides when to stop and which weights are kept, and on whom the
            thresholds are chosen that are taken off the logits: at even odds rare attributes are never called.
        attributes: what to infer; one that all public people share, or lack, is taken for everybody's.
        config: the probe and its schedule.
        place: where it runs and where its state is kept.

    Raises:
        InputError: if no attribute is given, or the pack lacks one.
        DivergedError: if the cross-entropy is no longer finite.

    """
    if not attributes:
        raise InputError("attributes must name at least one attribute to infer, and it is empty")
    labels, answers = public.labels(attributes), torch.from_numpy(validation.labels(attributes))
    varies = torch.from_numpy(labels.any(axis=0) & ~labels.all(axis=0)).to(place.fabric.device)
    targets = torch.from_numpy(labels).to(place.fabric.device)

    def loss(logits: Tensor, index: NDArray[np.int64]) -> Tensor:
        # An attribute that does not vary teaches nothing, and would outweigh the others where it does vary.
        return losses.utility(logits * varies, targets[torch.from_numpy(index)] & varies)

    def error(logits: Tensor) -> float:
        return float(losses.utility(logits * varies.cpu(), answers & varies.cpu()))

    fitted = _probe(access, public, validation, len(attributes), loss, error, config, place)
    _settle(fitted.network, labels, varies)
    with access.seeded(config.seed, NAME, "thresholds"):
        logits = logits_of(access, fitted.network, validation).numpy()
    _shift(fitted.network, best_thresholds(logits, answers.numpy()))
    return fitted


def _probe(
    access: Access,
    public: Public,
    validation: Validation,
    num_logits: int,
    loss: Callable[[Tensor, NDArray[np.int64]], Tensor],
    error: Callable[[Tensor], float],
    config: InferenceConfig,
    place: Place,
) -> Fitted[Head]:
    """Train a probe: `loss` is of logits of the public pictures at some places, `error` of all of validation people."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = Head(access.shape, num_logits, width=config.width)
    batches = Batches(public, batch_size=config.batch_size, seed=config.seed, mirror=access.mirrors)
    if not place.checkpoint.exists():
        seen = sample(np.arange(len(public)), access.shape, seed=config.seed)
        with access.seeded(config.seed, NAME, "scale"):
            head.whiten.observe(access.features(public, seen))

    def of_step(network: nn.Module, step: int) -> Tensor:
        index, mirrored = batches.draw(step)
        return loss(network(access.features(public, index, mirrored)), index)

    def of_all(network: Head) -> float:
        return error(logits_of(access, network, validation))

    return fit(head, of_step, of_all, config, place, name=NAME, access=access)


def infer_task(
    access: Access, public: Public, validation: Validation, task: Task, config: InferenceConfig, place: Place
) -> Fitted[Head]:
    """Train a probe to decide a task that was made of public labels, as `infer` does attributes.

    Raises:
        DivergedError: if the loss is no longer finite.

    """
    targets = torch.from_numpy(targets_of(task, public)).to(place.fabric.device)
    answers = torch.from_numpy(targets_of(task, validation))

    def loss(logits: Tensor, index: NDArray[np.int64]) -> Tensor:
        return task.loss(logits, targets[torch.from_numpy(index)])

    def error(logits: Tensor) -> float:
        return float(task.loss(logits, answers))

    return _probe(access, public, validation, task.num_logits, loss, error, config, place)


@torch.no_grad()
def _settle(head: Head, labels: Bools, varies: Tensor) -> None:
    """Make the probe say what all public people have in common, whatever the features are."""
    last, same = _last(head), ~varies
    last.weight[same] = 0
    last.bias[same] = torch.from_numpy(labels[0]).to(last.bias)[same] - 0.5


@torch.no_grad()
def _shift(head: Head, thresholds: Floats) -> None:
    """Take thresholds (num_attributes,) off the logits, so that 0 is where they were."""
    last = _last(head)
    last.bias.sub_(torch.from_numpy(thresholds).to(last.bias))


def _last(head: Head) -> nn.Linear:
    last = head.layers[-1]
    assert isinstance(last, nn.Linear)
    return last


def predict_attributes(access: Access, head: Head, part: Part) -> Bools:
    """Tell the attributes of every picture of a part, (len(part), num_attributes), as `infer` was given them."""
    return logits_of(access, head, part).numpy() > 0


def logits_of(access: Access, head: nn.Module, part: Part) -> Tensor:
    """Give the probe's logits of every picture of a part: (len(part), k)."""
    return mapped_features(access, head, part).cpu()


def from_decisions(
    public_decisions: Floats, public_labels: Bools, held_decisions: Floats, held_labels: Bools, decisions: Floats
) -> Bools:
    """Tell attributes from the task's decisions alone, by logistic regression: what any useful service gives away.

    No encoder can hide what its task needs (Stadler et al., ICML 2024), so this is the floor of attribute inference.

    Args:
        public_decisions: (n, k), what the task decides of the public pictures, as numbers.
        public_labels: (n, num_attributes), what the public people are known to have.
        held_decisions: (h, k), what it decides of the validation people, on whom thresholds are chosen as for a probe.
        held_labels: (h, num_attributes), what these have.
        decisions: (m, k), what it decides of the victims.

    Returns:
        (m, num_attributes); an attribute that all public people share, or lack, is taken for everybody's.

    """
    told = np.empty((len(decisions), public_labels.shape[1]), dtype=np.bool_)
    for place, labels in enumerate(public_labels.T):
        if labels.all() or not labels.any():
            told[:, place] = labels[0]
        else:
            fitted = _regression(of_classes=True).fit(public_decisions, labels)
            odds = fitted.decision_function(held_decisions)[:, None]
            (threshold,) = best_thresholds(odds, held_labels[:, [place]])
            told[:, place] = fitted.decision_function(decisions) > threshold
    return told


def task_from_decisions(task: Task, public_decisions: Floats, public_labels: Floats, decisions: Floats) -> Floats:
    """Tell a class or a number from the task's decisions alone, as `from_decisions` does attributes.

    Args:
        task: to tell: of classes, or of a number.
        public_decisions: (n, k), what the encoder's task decides of the public pictures, as numbers.
        public_labels: (n, 1), as `task` reads them.
        decisions: (m, k), what it decides of the victims.

    Returns:
        (m, num_logits), logits of `task`.

    """
    of_classes = isinstance(task, Multiclass)
    told: Floats = _regression(of_classes=of_classes).fit(public_decisions, public_labels[:, 0]).predict(decisions)
    if not of_classes:
        return told[:, None]
    chosen: NDArray[np.bool_] = told[:, None] == np.arange(task.num_logits)
    return chosen.astype(np.float32)


def _regression(*, of_classes: bool) -> Any:
    """Make a regression of sklearn's on standardised numbers."""
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000) if of_classes else LinearRegression())
