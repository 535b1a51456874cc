"""Networks in ONNX files as modules of torch, with gradients for what comes in."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from torch import nn

from oneway.onnx_session import session_options

KNOWN = 17
"""The version of ONNX whose plain operations onnx2torch knows; torch's exporter writes later ones."""
_LATER = {"allowzero", "num_outputs", "noop_with_empty_axes", "antialias", "keep_aspect_ratio_policy"}
"""Attributes that later versions have; what a network computes without them is held to what its file does."""


def to_torch(path: Path) -> nn.Module:
    """Convert the network in an ONNX file to torch, frozen.

    What is computed of weights alone, such as those kept in half precision, is computed first. A reshape to one row,
    `[1, -1]`, which exporters write for a batch of one, becomes one to as many rows as come in. Whoever uses it must
    hold what it gives to what the file does.
    """
    import onnx
    from onnx2torch import convert  # only who trains with such a network needs these

    # Its slices index by lists, which torch warns of at every step; features are held to the verifier's before use.
    warnings.filterwarnings("ignore", message="Using a non-tuple sequence", module="onnx2torch")
    with tempfile.TemporaryDirectory() as folder:
        options = session_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        whole = onnx.load(path).SerializeToString()  # with the weights beside it, which would not follow it
        onnxruntime.InferenceSession(whole, options, providers=["CPUExecutionProvider"])
        model = onnx.load(options.optimized_model_filepath)
    _rewrite(model)
    network: nn.Module = convert(model)
    return network.eval().requires_grad_(False)


def _rewrite(model: Any) -> None:
    """Write reshapes for any batch, what later versions of ONNX write otherwise as `KNOWN` did, PReLU of one slope."""
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                constants[node.output[0]] = attribute.t
    for node in graph.node:
        for attribute in [each for each in node.attribute if each.name in _LATER]:
            node.attribute.remove(attribute)
        given = constants.get(node.input[1]) if len(node.input) > 1 else None
        if given is None:
            continue
        if node.op_type == "Reshape" and numpy_helper.to_array(given).tolist() == [1, -1]:
            given.CopyFrom(numpy_helper.from_array(np.array([0, -1], dtype=np.int64), given.name))
        if node.op_type.startswith("Reduce") and node.op_type != "ReduceSum":  # which has had it so for long
            node.attribute.append(helper.make_attribute("axes", numpy_helper.to_array(given).tolist()))
            del node.input[1]
        if node.op_type == "PRelu" and numpy_helper.to_array(given).size == 1:  # whose gradient torch is slow at
            node.op_type = "LeakyRelu"
            node.attribute.append(helper.make_attribute("alpha", float(numpy_helper.to_array(given).item())))
            del node.input[1]
    for each in model.opset_import:
        if not each.domain:
            each.version = min(each.version, KNOWN)
