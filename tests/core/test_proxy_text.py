"""Bytes are packed without loss, and windows cover a text before they repeat it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.proxy_text import END_OF_TEXT, byte_count, packed, windows


@given(st.lists(st.text(max_size=20), max_size=6))
def test_packed_documents_can_be_read_back(texts):
    ids = packed(texts, 10_000)
    assert byte_count(ids) == sum(len(text.encode()) for text in texts)
    parts, current = [], None
    for value in ids.tolist():
        if value == END_OF_TEXT:
            current = bytearray()
            parts.append(current)
        else:
            current.append(value)
    assert [part.decode() for part in parts if part] == [text for text in texts if text]


def test_packing_stops_at_its_limit_and_reads_no_further():
    taken = []

    def texts():
        for letter in "abcdef":
            taken.append(letter)
            yield letter * 10

    ids = packed(texts(), 25)
    assert byte_count(ids) == 25
    assert taken == ["a", "b", "c"]


@given(size=st.integers(1, 90), count=st.integers(0, 40), context=st.integers(2, 30), seed=st.integers(0, 99))
def test_there_are_as_many_windows_as_asked_for_all_of_one_size(size, count, context, seed):
    ids = np.arange(size, dtype=np.int16)
    found = list(windows(ids, count, context, seed))
    assert [window.size for window in found] == [context + 1] * count
    # Each is a stretch of the text, which begins again behind its end where it is short.
    assert all((np.diff(window) % size == 1 % size).all() for window in found)
    again = list(windows(ids, count, context, seed))
    assert all((one == other).all() for one, other in zip(found, again, strict=True))


def test_a_pass_over_the_text_shows_no_place_twice():
    ids = np.arange(1000, dtype=np.int16)
    seen = [window[:-1] for window in windows(ids, 98, 10, seed=1)]
    first_pass = np.concatenate(seen)
    assert len(set(first_pass.tolist())) == first_pass.size


def test_there_are_no_windows_of_nothing():
    with pytest.raises(ValueError, match="no text"):
        next(windows(packed([], 10), 1, 4, 0))
