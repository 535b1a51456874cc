"""Messages that arrive while others are answered: the next ones, all together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
from anyio.to_thread import run_sync

from oneway.serving.decider import Answered, Decider
from oneway.shipping.contract import Numbers


class Gathering:
    """Asks a network in another thread, once for all that waits: a change of thread for every request costs more.

    Args:
        decider: what answers.
        most: messages at a time.
        watch: is shown, in the other thread, what was answered, and keeps none of it.

    Attributes:
        decider: the same.

    """

    def __init__(self, decider: Decider, most: int, watch: Callable[[Numbers], None] | None = None) -> None:
        self.decider, self._most, self._watch = decider, most, watch
        self._waiting: list[tuple[Numbers, asyncio.Future[Answered]]] = []
        self._work: asyncio.Task[None] | None = None

    async def answers(self, levels: Numbers) -> Answered:
        """Answer levels (n, numbers), n at most `most`, as `Decider.answers` does."""
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._waiting.append((levels, future))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._answer())
        return await future

    async def _answer(self) -> None:
        """Answer until nothing waits."""
        while self._waiting:
            ends = np.cumsum([len(levels) for levels, _ in self._waiting])
            first = max(1, int((ends <= self._most).sum()))
            taken, self._waiting = self._waiting[:first], self._waiting[first:]
            try:
                found = await run_sync(self._decide, np.concatenate([levels for levels, _ in taken]))
            except Exception as error:  # whoever waits is told of it
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            for levels, future in taken:
                own, found = found[: len(levels)], found[len(levels) :]
                if not future.done():
                    future.set_result(own)

    def _decide(self, levels: Numbers) -> Answered:
        found = self.decider.answers(levels)
        if self._watch is not None:
            self._watch(levels)
        return found
