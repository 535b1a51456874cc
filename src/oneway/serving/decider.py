"""The server's half of a bundle, opened: levels to answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from oneway.errors import InputError
from oneway.onnx_session import session_options
from oneway.shipping.contract import AGAIN, CONTRACT, SERVER, Numbers, bundle_hash
from oneway.shipping.reference import REFERENCE, Reference, read_reference
from oneway.shipping.verify import checked_contract

Answered = list[dict[str, dict[str, object]]]
"""For each message, by column, what is decided."""


class Decider:
    """Answers by server.onnx what the contract asks.

    Args:
        folder: the bundle's, whose every file is held to its contract.

    Attributes:
        contract: what was agreed.
        bundle: the sha256 of contract.json, by which a message names the bundle that it was made with.
        agreed: contract.json itself.
        reference: what honest devices send; none in a bundle that does not say.

    Raises:
        InputError: if the bundle is damaged, or its server.onnx does not answer what the contract says.

    """

    def __init__(self, folder: Path) -> None:
        self.contract = checked_contract(folder)
        self.bundle, self.agreed = bundle_hash(folder), (folder / CONTRACT).read_bytes()
        has = REFERENCE in self.contract.files
        self.reference: Reference | None = read_reference(folder, self.contract) if has else None
        options = session_options(max(1, (os.cpu_count() or 1) - 1))  # one is busy with requests
        path = folder / SERVER
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            top = self.contract.quantisation.top
            self.answers(np.array([[0], [top], [-top]], np.int8).repeat(self.contract.numbers, axis=1))
        except Exception as error:  # onnxruntime raises its own untyped errors
            raise InputError(f"{path} does not answer as the contract says ({error}); {AGAIN}") from error

    def answers(self, levels: Numbers) -> Answered:
        """Decide by levels (n, numbers): by column, for each message."""
        values, decisions = self._session.run(["values", "decisions"], {"levels": levels})
        expected = ((len(levels), self.contract.num_values), (len(levels), len(self.contract.columns)))
        if (values.shape, decisions.shape) != expected or not (
            np.isfinite(values).all() and np.isfinite(decisions).all()
        ):
            raise ValueError(f"values {values.shape} and decisions {decisions.shape} of {len(levels)} messages")
        return self.contract.answers(values, decisions)
