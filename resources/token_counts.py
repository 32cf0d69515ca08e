"""Remembers how many tokens a text has, so that no text is counted twice while it is in use.

In: a bounded memory of counts, by a hash of the text. Out: counting (`resources.tokenizer`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b


class CountMemory:
    """The counts that were used last, at most `size` of them; an entry takes some 250 bytes. Safe in threads.

    A run counts the same text often: a document when it is read, when each strategy plans it, and again when its
    answers are made into rows; a finished text when it is checked and when it is merged.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()

    def counted(self, texts: Sequence[str], count: Callable[[list[str]], Iterable[int]]) -> list[int]:
        """The count of each text; `count` is asked once, for those that are not remembered, each of them once."""
        keys = [blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
        known = self._remembered(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            known |= zip(missing, count(list(missing.values())), strict=True)
            self._remember(known)
        return [known[key] for key in keys]

    def _remembered(self, keys: list[bytes]) -> dict[bytes, int]:
        with self._lock:
            known = {key: self._counts[key] for key in keys if key in self._counts}
            for key in known:
                self._counts.move_to_end(key)
            return known

    def _remember(self, counts: dict[bytes, int]) -> None:
        with self._lock:
            self._counts.update(counts)
            while len(self._counts) > self._size:
                self._counts.popitem(last=False)
