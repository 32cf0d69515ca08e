import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.pulling_ahead import pulled_ahead


def pullers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "pulling-ahead"]


@given(st.lists(st.integers(), max_size=50), st.integers(1, 7))
def test_all_items_come_in_order(items, most):
    assert list(pulled_ahead(iter(items), most)) == items
    assert not pullers()


@given(st.integers(0, 20), st.integers(1, 7))
def test_an_error_of_the_stream_comes_after_the_items_before_it(count, most):
    def stream() -> Iterator[int]:
        yield from range(count)
        raise LookupError("the source broke")

    found = []
    with pytest.raises(LookupError, match="the source broke"):
        found.extend(item for item in _noted(pulled_ahead(stream(), most), found))
    assert found == list(range(count))
    assert not pullers()


def _noted(items: Iterator[int], found: list[int]) -> Iterator[int]:
    for item in items:
        found.append(item)
    yield from ()


def test_items_are_made_ahead_of_the_consumer_and_no_further_than_allowed():
    made = threading.Semaphore(0)
    count = 0

    def stream() -> Iterator[int]:
        nonlocal count
        for item in range(100):
            count += 1
            made.release()
            yield item

    with closing(pulled_ahead(stream(), 5)) as items:
        assert next(items) == 0
        # The one that was taken, five that wait, and one that finds no room.
        for _ in range(7):
            assert made.acquire(timeout=10)
        assert not made.acquire(timeout=0.2)
    assert count <= 8


def test_closing_ends_the_thread_and_closes_the_stream_on_it():
    ended_on: list[threading.Thread] = []

    def stream() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            ended_on.append(threading.current_thread())

    items = pulled_ahead(stream(), 3)
    next(items)
    items.close()

    assert not pullers()
    assert [thread.name for thread in ended_on] == ["pulling-ahead"]


def test_what_is_never_pulled_starts_nothing():
    pulled_ahead(iter([1]), 3).close()

    assert not pullers()
