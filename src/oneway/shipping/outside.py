"""Whether an ONNX file is whole in itself."""

from __future__ import annotations

from pathlib import Path


def kept_outside(path: Path) -> str | None:
    """Say that an ONNX file keeps weights in other files: none of ours does, and a path may lead anywhere."""
    import onnx
    from onnx.external_data_helper import uses_external_data

    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf raises its own errors
        return f"it is not a readable ONNX file ({error})"
    constants = [each.t for node in model.graph.node for each in node.attribute if each.HasField("t")]
    for tensor in (*model.graph.initializer, *constants):
        if uses_external_data(tensor):
            named = next((each.value for each in tensor.external_data if each.key == "location"), "another file")
            return f"the weights {tensor.name!r} lie in {named!r}, outside of the file itself"
    return None
