"""Split any torch module in two at a named layer, so that its features can be sent, attacked and protected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch.fx
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from oneway.errors import InputError, unknown
from oneway.models.apart import Asked, copied, set_apart
from oneway.models.features import Chosen, chosen, numbers, way_out

WHOLE = "output"
"""The cut that takes the whole module as the encoder: its features are the module's output."""


def split(module: nn.Module, cut: str, output: str | None = None) -> tuple[nn.Module, nn.Module]:
    """Split `module` into the part up to and including layer `cut` and the rest; weights are shared, not copied.

    Args:
        module: any module of one image argument; it must be traceable by `torch.fx` unless `cut` is `"output"`.
        cut: the name of a layer as in `module.named_modules()`, or `"output"` for the whole module. Of a layer that is
            called several times, the first call is meant.
        output: which of several outputs holds the features, where the layer gives no tensor: see `features.chosen`. The
            rest may then read no other.

    What an encoder is given, what it gives, and what the rest is given are copies: what either part overwrites, by an
    activation in place or in a buffer that it keeps, are never the pictures or the features that others read.

    Returns:
        `(encoder, rest)` such that `rest(encoder(x))` equals `module(x)`, in training and in evaluation.

    Raises:
        InputError: if the module cannot be traced, lacks the layer, does not the same in training and in evaluation,
            or the layer does not separate it (a skip connection goes around it).

    """
    if cut == WHOLE:
        return _whole(module, output), nn.Identity()
    evaluated, trained = (_divide(module, cut, output, training=training) for training in (False, True))
    encoder, rest = (_joined(*pair, training=module.training) for pair in zip(evaluated, trained, strict=True))
    if encoder is None or rest is None:
        raise InputError(
            f"the network {type(module).__name__} cannot be trained when it is cut at {cut!r}, because its forward "
            "does something else while it is trained (auxiliary outputs, say); build it without (aux_logits=False, "
            f"say), or pass the part before the cut as the network, with cut={WHOLE!r}"
        )
    return encoder, rest


def _whole(module: nn.Module, output: str | None) -> nn.Module:
    return set_apart(module if output is None else Chosen(module, output))


def first_part(module: nn.Module, cut: str, output: str | None = None) -> nn.Module:
    """Give the part of `module` up to and including layer `cut`, as it is in evaluation; weights are shared.

    Arguments are those of `split`. Other than for `split`, what the module does in training does not matter.

    Raises:
        InputError: if the module cannot be traced, lacks the layer, or the layer does not separate it.

    """
    if cut == WHOLE:
        return _whole(module, output)
    half, _ = _divide(module, cut, output, training=False)
    return torch.fx.GraphModule(half.held, half.graph, "Part").eval()


class _Tracer(torch.fx.Tracer):
    """Looks into no module without layers: what it does may depend on its mode or its input.

    Attributes:
        given: what `layer` gave when it was first called.
        last: the last node of that call.

    """

    def __init__(self, layer: nn.Module, whole: nn.Module) -> None:
        super().__init__()
        self._layer, self._whole = layer, whole
        self.given: Any = None
        self.last: torch.fx.Node | None = None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Say whether `m` is called rather than traced."""
        if m is self._whole:
            return False
        return super().is_leaf_module(m, module_qualified_name) or not any(True for _ in m.children())

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Note what the layer gives."""
        given = super().call_module(m, forward, args, kwargs)
        if m is self._layer and self.last is None:
            self.given, self.last = given, next(iter(reversed(self.graph.nodes)))
        return given


class _Half(NamedTuple):
    """What a part does in one mode, and the layers, weights and constants that it names."""

    graph: torch.fx.Graph
    held: dict[str, object]


def _divide(module: nn.Module, cut: str, output: str | None, *, training: bool) -> tuple[_Half, _Half]:
    """Trace the module in one mode, and copy what it does up to the layer `cut` into one graph, the rest into another.

    What reads no picture (a weight, a constant) is on both sides, if both need it.
    """
    traced = _trace(module, cut, output, training=training)
    given, last = traced.given, traced.last
    before, after = torch.fx.Graph(), torch.fx.Graph()
    first: dict[torch.fx.Node, torch.fx.Node] = {}
    second: dict[torch.fx.Node, torch.fx.Node] = {}
    seen: set[torch.fx.Node] = set()  # what depends on the pictures, and below, what only on their size
    sizes: set[torch.fx.Node] = set()

    def copied_over(source: torch.fx.Node) -> torch.fx.Node:
        if source not in second:
            second[source] = after.node_copy(source, copied_over)
        return second[source]

    for node in traced.graph.nodes:
        read = [source for source in node.all_input_nodes if source in seen]
        if read or node.op == "placeholder":
            seen.add(node)
        if _asks_size(node) or (read and sizes.issuperset(read)):
            sizes.add(node)
        if last is not None:
            first[node] = before.node_copy(node, first.__getitem__)
            if node.op == "placeholder":
                first[node] = before.call_function(copied, (first[node],))
            if node is last:
                before.output(before.call_function(copied, (first[given],)))
                second[given] = after.call_function(copied, (after.placeholder("features"),))
                last = None
        elif node in seen or node.op == "output":
            crossing = [source for source in read if source not in second]
            if crossing:
                what, way = (
                    "a value from before it (a skip connection)",
                    "cut after the block that the connection ends in",
                )
                if sizes.issuperset(crossing):
                    what, way = "the size of what came before it", "cut at a later layer"
                raise InputError(
                    f"the cut {cut!r} does not separate the network: {node.name!r} after it also reads {what}; {way}"
                )
            copied_over(node)
    return _Half(before, _held(before, traced.root)), _Half(after, _held(after, traced.root))


def _held(graph: torch.fx.Graph, root: nn.Module) -> dict[str, object]:
    """Give what a graph names of the module it was traced from, by the names within the network."""
    held: dict[str, object] = {}
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            above, _, name = str(node.target).rpartition(".")
            node.target = str(node.target).removeprefix("module.")
            held[node.target] = getattr(root.get_submodule(above), name)
    return held


class _Traced(NamedTuple):
    """A module's graph in one mode, what the layer `cut` gives in it, and the last node of that layer's call."""

    root: nn.Module
    graph: torch.fx.Graph
    given: torch.fx.Node
    last: torch.fx.Node | None


def _trace(module: nn.Module, cut: str, output: str | None, *, training: bool) -> _Traced:
    layers = dict(module.named_modules())
    if cut not in layers or not cut:
        known = [name for name in layers if name]
        raise unknown("cut", cut, [*(name for name in known if "." not in name), WHOLE, *known])
    tracer, root = _Tracer(layers[cut], module), Asked(module)
    try:
        with evaluating(module):
            module.train(training)
            graph = tracer.trace(root)
    except Exception as error:  # torch.fx raises whatever the traced forward raises
        raise InputError(
            f"the network {type(module).__name__} cannot be cut at {cut!r} because torch.fx cannot trace it "
            f"({error}); pass the part before the cut as the network, with cut={WHOLE!r}"
        ) from error
    if tracer.last is None:
        raise InputError(
            f"the layer {cut!r} is never called in the forward of {type(module).__name__}, or lies within TorchScript, "
            f"which cannot be cut; cut at another, or pass the part before it as the network, with cut={WHOLE!r}"
        )
    given = tracer.given if output is None else chosen(tracer.given, output)
    if not isinstance(given, torch.fx.Proxy):
        raise InputError(f"the layer {cut!r} gives no tensor but {type(given).__name__}; {way_out(given)} at another")
    return _Traced(root, graph, given.node, tracer.last)


def _asks_size(node: torch.fx.Node) -> bool:
    if node.op == "call_method":
        return node.target in ("size", "dim")
    return node.op == "call_function" and node.target is getattr and node.args[1] in ("shape", "ndim")


class _ByMode(nn.Module):
    """A constant in a forward that depends on the mode, such as what a functional dropout is told."""

    def __init__(self, evaluated: Any, trained: Any) -> None:
        super().__init__()
        self.evaluated, self.trained = evaluated, trained

    def forward(self) -> Any:
        return self.trained if self.training else self.evaluated


def _joined(evaluated: _Half, trained: _Half, *, training: bool) -> nn.Module | None:
    """Make one module of what a part does in both modes; none if they differ in more than plain constants."""
    graph, constants = evaluated.graph, dict[str, _ByMode]()
    if len(graph.nodes) != len(trained.graph.nodes) or not _same(evaluated.held, trained.held):
        return None
    for one, other in zip(list(graph.nodes), trained.graph.nodes, strict=True):
        values, form = pytree.tree_flatten((one.args, one.kwargs))
        others, other_form = pytree.tree_flatten((other.args, other.kwargs))
        if (one.op, one.target, form) != (other.op, other.target, other_form):
            return None
        for place, (value, another) in enumerate(zip(values, others, strict=True)):
            if str(value) == str(another):  # of nodes their names, which are counted in the order of the graph
                continue
            if any(isinstance(each, torch.fx.Node | slice) for each in (value, another)):
                return None
            name = f"by_mode_{len(constants)}"
            constants[name] = _ByMode(value, another)
            with graph.inserting_before(one):
                values[place] = graph.call_module(name)
        one.args, one.kwargs = pytree.tree_unflatten(values, form)
    part = torch.fx.GraphModule({**evaluated.held, **constants}, graph, "Part")
    for each in (part, *constants.values()):
        each.training = training
    return part


def _same(ours: Mapping[str, object], theirs: Mapping[str, object]) -> bool:
    """Say whether two graphs name the same layers and weights, and equal constants."""

    def equal(one: object, other: object) -> bool:
        return one is other or (isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other))

    return ours.keys() == theirs.keys() and all(equal(value, theirs[name]) for name, value in ours.items())


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode, and every part back into its own mode."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def features_shape(encoder: nn.Module, size: int) -> tuple[int, ...]:
    """Give the shape of `encoder`'s features for one RGB picture of `size` pixels a side, without the batch.

    Raises:
        InputError: if the encoder cannot take a picture of that size, or gives what attackers cannot read whole (see
            `features.numbers`), or a number for each picture without a dimension of its own.

    """
    device = next((tensor.device for tensor in (*encoder.parameters(), *encoder.buffers())), None)
    try:
        with torch.no_grad(), evaluating(encoder):
            features = encoder(torch.full((2, 3, size, size), 0.5, device=device))
    except InputError:
        raise
    except (RuntimeError, ValueError, AssertionError) as error:
        raise InputError(
            f"the encoder cannot take pictures of {size} x {size} pixels ({str(error).splitlines()[0]}); "
            "use larger pictures or an earlier cut"
        ) from error
    shape = tuple(numbers(features, 2).shape[1:])
    if features.dim() == 1:
        raise InputError("the network gives one number for each picture, (n,); let it give (n, 1)")
    return shape
