"""Lanes for play that stay open from one play test to the next."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext

from corrtool.errors import CorrtoolError, UsageError
from corrtool.runtime.signals import default_signal_handling
from corrtool.tasks.environments import LanesLike

MAX_LANES = 16  # games played side by side: thirty of Pong take as long in 8 to 16, longer in 30


class LanePool:
    """A pool of lanes that are opened once for each number of them, and stay open for later games.

    Opening an Atari game takes a tenth of a second for each lane. They are to be reset with seeds,
    which is as good as new. Use as a context manager.

    Of some simulators there can be only one at a time: where several cannot be opened one is, and
    games are played one by one.

    Args:
        make_lanes: opens so many lanes.
        most: lanes at a time.
    """

    def __init__(self, make_lanes: Callable[[int], LanesLike], most: int = MAX_LANES) -> None:
        self._make_lanes, self._most = make_lanes, most
        self._lanes: dict[int, LanesLike] = {}
        self._borrowed: LanesLike | None = None
        self._open = ExitStack()

    def __enter__(self) -> LanePool:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __call__(self, count: int) -> AbstractContextManager[LanesLike]:
        """``count`` lanes, or as many as can be, which stay open.

        Raises :class:`UsageError` where there can be none.
        """
        if self._borrowed is not None:
            return nullcontext(self._borrowed)
        count = min(count, self._most)
        if count not in self._lanes:
            try:
                self._lanes[count] = self._open.enter_context(self._make_lanes(count))
            except UsageError:
                if count == 1:
                    raise
                self._most = 1
                return self(1)
        return nullcontext(self._lanes[count])

    def preopened(self, count: int) -> AbstractContextManager[object]:
        """Open ``count`` lanes before they are needed, while there is nothing to lose.

        Making many takes seconds outside of Python.
        """
        if count:
            with default_signal_handling():
                self(count)
        return nullcontext()

    def open_or_borrow(self, lanes: LanesLike) -> bool:
        """Find out whether another lane can be open beside ``lanes``, each with a game begun.

        Some simulators say only then that their place is taken. If none can, games are played on
        these, and this returns True.
        """
        lanes.reset([0] * lanes.count)
        try:
            with self(1) as own:
                own.reset([0])
        except CorrtoolError:
            self._lanes.clear()
            self._open.close()
            self._borrowed = lanes
        return self._borrowed is not None
