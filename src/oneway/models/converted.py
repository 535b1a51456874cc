"""Networks in ONNX files as modules of torch, with gradients for what comes in."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
from torch import nn

from oneway.onnx_session import session_options


def to_torch(path: Path) -> nn.Module:
    """Convert the network in an ONNX file to torch, frozen.

    What is computed of weights alone, such as those kept in half precision, is computed first. A reshape to one row,
    `[1, -1]`, which exporters write for a batch of one, becomes one to as many rows as come in. That a reshape may be
    to a side of 0, as torch's exporter writes of each, is not read.
    """
    import onnx
    from onnx import numpy_helper
    from onnx2torch import convert  # only who trains with such a network needs these

    # Its slices index by lists, which torch warns of at every step; features are held to the verifier's before use.
    warnings.filterwarnings("ignore", message="Using a non-tuple sequence", module="onnx2torch")
    with tempfile.TemporaryDirectory() as folder:
        options = session_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        model = onnx.load(options.optimized_model_filepath)
    reshapes = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    shapes = [tensor for tensor in model.graph.initializer if tensor.name in reshapes]
    for node in model.graph.node:
        if node.op_type == "Reshape":
            for attribute in [each for each in node.attribute if each.name == "allowzero"]:
                node.attribute.remove(attribute)
        if node.op_type == "Constant" and node.output[0] in reshapes:
            shapes += [attribute.t for attribute in node.attribute if attribute.name == "value"]
    for tensor in shapes:
        if numpy_helper.to_array(tensor).tolist() == [1, -1]:
            tensor.CopyFrom(numpy_helper.from_array(np.array([0, -1], dtype=np.int64), tensor.name))
    network: nn.Module = convert(model)
    return network.eval().requires_grad_(False)
