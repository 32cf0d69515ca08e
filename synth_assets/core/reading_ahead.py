"""An iterator pulled on a thread of its own, a bounded number of items ahead of whoever uses them.

In: the thread, the bound, its end. Out: what the items are.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class _End:
    """Among the items: none follows."""


class ReadingAhead(Generic[T]):
    """Context manager and iterator over `source`, in its order; at most `most_ahead` items wait to be used.

    Raises what `source` raises, in its place among the items. On leaving, the thread ends after the item that it is
    at, and items that nobody used are lost.
    """

    def __init__(self, source: Iterator[T], most_ahead: int) -> None:
        self._source = source
        self._items: queue.Queue[T | _End | BaseException] = queue.Queue(most_ahead)
        self._is_left = False
        self._is_over = False
        self._thread = threading.Thread(target=self._read, name="reading-ahead", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._is_over:
            raise StopIteration
        item = self._items.get()
        if isinstance(item, (_End, BaseException)):
            self._is_over = True
            raise StopIteration if isinstance(item, _End) else item
        return item

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_left = True
        while self._thread.is_alive():
            # It may wait for room.
            while not self._items.empty():
                self._items.get_nowait()
            self._thread.join(0.01)

    def _read(self) -> None:
        end: _End | BaseException = _End()
        try:
            for item in self._source:
                self._items.put(item)
                if self._is_left:
                    return
        except BaseException as error:
            end = error
        self._items.put(end)
