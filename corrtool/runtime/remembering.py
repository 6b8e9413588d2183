"""Answers that are remembered while nothing changes: a sweep asks for the same a thousand times."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

T = TypeVar("T")
_known: ContextVar[dict[Hashable, Any] | None] = ContextVar("known", default=None)


@contextmanager
def remembering() -> Iterator[None]:
    """Around many questions about a project that does not change meanwhile.

    What others write into it in this time may go unseen: whoever acts on an answer asks again.
    """
    token = _known.set({})
    try:
        yield
    finally:
        _known.reset(token)


def remembered(key: Hashable, find: Callable[[], T]) -> T:
    """What ``find`` returns, or returned before within :func:`remembering`.

    Nobody may change what it returns. An error is not remembered.

    Args:
        key: names the question, with all that its answer depends on.
    """
    known = _known.get()
    if known is None:
        return find()
    if key not in known:
        known[key] = find()
    return cast(T, known[key])
