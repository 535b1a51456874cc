"""Processes that work for another: they end when it does, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import threading
from signal import SIG_IGN, SIGINT, signal


def serve() -> None:
    """Make this process one that works for its parent.

    An interrupt reaches every process of a terminal; the parent alone answers it. When the parent is gone, even
    killed, so is this process: it would go on with its work, beside whoever resumes that.
    """
    signal(SIGINT, SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
