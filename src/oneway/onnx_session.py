"""How networks in ONNX files are opened, whatever they are for."""

from __future__ import annotations

from typing import Any


def session_options(threads: int = 1) -> Any:
    """Give onnxruntime's options for a session: errors alone are logged, and the process keeps its way of rounding.

    Args:
        threads: that work on one product. One by default: pictures are shared out among torch's threads instead, since
            its own would wait for each other, spinning.

    """
    import onnxruntime  # takes a while, which help need not wait for

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    # Left at its default, a session makes whoever opens it compute with denormal numbers from then on, which slow a
    # training down a hundredfold; see `runtime.launch`.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return options
