"""Split any torch module in two at a named layer, so that its features can be sent, attacked and protected."""

from __future__ import annotations

from collections import OrderedDict

import torch.fx
from torch import Tensor, nn

from oneway.errors import InputError, unknown

WHOLE = "output"
"""The cut that takes the whole module as the encoder: its features are the module's output."""


def split(module: nn.Module, cut: str) -> tuple[nn.Module, nn.Module]:
    """Split `module` into the part up to and including layer `cut` and the rest; weights are shared, not copied.

    Args:
        module: any module of one image argument; it must be traceable by `torch.fx` unless `cut` is `"output"`.
        cut: the name of a layer as in `module.named_modules()`, or `"output"` for the whole module.

    Returns:
        `(encoder, rest)` such that `rest(encoder(x))` equals `module(x)`.

    Raises:
        InputError: if the module cannot be traced, lacks the layer, or the layer does not separate it (a skip
            connection goes around it).

    """
    if cut == WHOLE:
        return module, nn.Identity()
    layers = [name for name, _ in module.named_modules() if name]
    if cut not in layers:
        raise unknown("cut", cut, [*(name for name in layers if "." not in name), WHOLE, *layers])
    try:
        graph = _Tracer().trace(module)
    except Exception as error:  # torch.fx raises whatever the traced forward raises
        raise InputError(
            f"the network {type(module).__name__} cannot be cut at {cut!r} because torch.fx cannot trace it "
            f"({error}); pass the part before the cut as the network, with cut={WHOLE!r}"
        ) from error
    if _depends_on_training(module, graph):
        raise InputError(
            f"the network {type(module).__name__} cannot be cut at {cut!r} because its forward asks whether it is "
            f"trained (functional dropout, say); use modules such as nn.Dropout instead, or pass the part before the "
            f"cut as the network, with cut={WHOLE!r}"
        )
    inside = [node for node in graph.nodes if cut in _layers_of(node)]
    if not inside:
        raise InputError(f"the layer {cut!r} is never called in the forward of {type(module).__name__}; cut at another")
    boundary = inside[-1]

    before, after, crossing = _divide(graph, boundary)
    if crossing:
        raise InputError(
            f"the cut {cut!r} does not separate the network: {crossing[0].name!r} after it also reads "
            "a value from before it (a skip connection); cut after the block that the connection ends in"
        )
    return torch.fx.GraphModule(module, before, "Encoder"), torch.fx.GraphModule(module, after, "Rest")


class _Tracer(torch.fx.Tracer):
    """Looks into no module without layers: what it does may depend on its mode or its input."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Say whether `m` is called rather than traced."""
        return super().is_leaf_module(m, module_qualified_name) or not any(True for _ in m.children())


def _depends_on_training(module: nn.Module, graph: torch.fx.Graph) -> bool:
    """Say whether the forward does something else in the other mode, which a traced graph would freeze."""
    modes = {each: each.training for each in module.modules()}
    module.train(not module.training)
    try:
        other = _Tracer().trace(module)
    finally:
        for each, training in modes.items():
            each.training = training
    return [_said(node) for node in graph.nodes] != [_said(node) for node in other.nodes]


def _said(node: torch.fx.Node) -> tuple[str, ...]:
    return node.op, str(node.target), str(node.args), str(node.kwargs)


def _layers_of(node: torch.fx.Node) -> OrderedDict[str, object]:
    layers: OrderedDict[str, object] = node.meta.get("nn_module_stack", OrderedDict())
    return layers


def _divide(
    graph: torch.fx.Graph, boundary: torch.fx.Node
) -> tuple[torch.fx.Graph, torch.fx.Graph, list[torch.fx.Node]]:
    """Copy the nodes up to `boundary` into one graph and those that follow from it into another."""
    before, after = torch.fx.Graph(), torch.fx.Graph()
    first: dict[torch.fx.Node, torch.fx.Node] = {}
    second: dict[torch.fx.Node, torch.fx.Node] = {}
    crossing: list[torch.fx.Node] = []
    passed = False
    for node in graph.nodes:
        if not passed:
            first[node] = before.node_copy(node, first.__getitem__)
            if node is boundary:
                before.output(first[node])
                second[node] = after.placeholder("features")
                passed = True
        elif all(source in second for source in node.all_input_nodes):
            second[node] = after.node_copy(node, second.__getitem__)
        else:
            crossing.append(node)
    return before, after, crossing


def features_shape(encoder: nn.Module, size: int) -> tuple[int, ...]:
    """Give the shape of `encoder`'s features for one RGB picture of `size` pixels a side, without the batch.

    Raises:
        InputError: if the encoder cannot take a picture of that size.

    """
    modes = {module: module.training for module in encoder.modules()}
    device = next((tensor.device for tensor in (*encoder.parameters(), *encoder.buffers())), None)
    encoder.eval()
    try:
        with torch.no_grad():
            features = encoder(torch.zeros(1, 3, size, size, device=device))
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"the encoder cannot take pictures of {size} x {size} pixels ({str(error).splitlines()[0]}); "
            "use larger pictures or an earlier cut"
        ) from error
    finally:
        for module, training in modes.items():
            module.training = training
    if not isinstance(features, Tensor):
        raise InputError(f"the encoder must return one tensor, not {type(features).__name__}; cut at another layer")
    return tuple(features.shape[1:])
