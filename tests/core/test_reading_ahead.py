from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.reading_ahead import ReadingAhead


def is_reading() -> bool:
    return any(thread.name == "reading-ahead" for thread in threading.enumerate())


@given(st.lists(st.integers()), st.integers(1, 5))
def test_items_come_in_order_whatever_the_bound(items: list[int], most_ahead: int) -> None:
    with ReadingAhead(iter(items), most_ahead) as ahead:
        assert list(ahead) == items
        assert list(ahead) == []


def test_what_the_source_raises_comes_in_its_place() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    with ReadingAhead(broken(), 8) as ahead:
        assert next(ahead) == 1
        with pytest.raises(ValueError, match="broken"):
            next(ahead)
        assert list(ahead) == []


def test_items_are_read_before_they_are_asked_for() -> None:
    is_read = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        is_read.set()
        yield 2

    with ReadingAhead(source(), 8) as ahead:
        assert is_read.wait(30)
        assert list(ahead) == [1, 2]


def test_leaving_early_ends_the_thread_which_has_read_no_more_than_the_bound() -> None:
    read: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            read.append(len(read))
            yield read[-1]

    with ReadingAhead(endless(), 3) as ahead:
        assert next(ahead) == 0
        # One used, three waiting, one that waits for room.
        while len(read) < 5:
            time.sleep(0.01)
        assert len(read) == 5
    assert not is_reading()
