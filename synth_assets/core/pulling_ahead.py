"""A stream that a thread of its own pulls ahead of whoever consumes it.

In: the thread, how far ahead it may be, its errors and its end. Out: what is streamed.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")

_JOIN_SECONDS = 0.01


class _End:
    """Behind the last item."""


@dataclass(frozen=True)
class _Failure:
    error: BaseException


def pulled_ahead(stream: Iterator[Item], most: int) -> Generator[Item, None, None]:
    """The items of the stream in order, of which up to `most` wait; what the stream raises is raised in its place.

    Pulling starts with the first `next`. Closing the iterator waits for the item that is being made, and closes the
    stream, if it is a generator, on the thread that pulls it.
    """
    waiting: queue.Queue[Item | _End | _Failure] = queue.Queue(most)
    is_closed = threading.Event()

    def pull() -> None:
        try:
            for item in stream:
                waiting.put(item)
                if is_closed.is_set():
                    break
            last: _End | _Failure = _End()
        except BaseException as error:
            last = _Failure(error)
        if isinstance(stream, Generator):
            stream.close()
        waiting.put(last)

    puller = threading.Thread(target=pull, name="pulling-ahead", daemon=True)
    puller.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            if isinstance(item, _Failure):
                raise item.error
            yield item
    finally:
        is_closed.set()
        while puller.is_alive():
            # Room for the last item, so that the thread comes to its end.
            with contextlib.suppress(queue.Empty):
                waiting.get_nowait()
            puller.join(_JOIN_SECONDS)
