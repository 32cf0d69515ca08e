"""Which files count as whole, and what is remembered between two looks."""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.curator_files import CuratorFile
from synth_assets.settled_files import (
    QUIET_SECONDS,
    STORE_QUIET_SECONDS,
    UNFINISHED_SECONDS,
    Memory,
    is_being_written,
    is_whole,
    settle,
)

LINE = json.dumps({"text": "An article.", "title": "Article"}) + "\n"
NOW = 1_800_000_000.0


@dataclass(frozen=True)
class Content:
    """A file's bytes, without a file."""

    content: bytes

    def open(self, mode: Any) -> IO[bytes]:
        return io.BytesIO(self.content)


def file(content: bytes | str = LINE, quiet_seconds: float = 3600) -> CuratorFile:
    content = content.encode() if isinstance(content, str) else content
    return CuratorFile(Content(content), len(content), int((NOW - quiet_seconds) * 1e9))


def parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": ["An article."]}), buffer)
    return buffer.getvalue()


def look(found: CuratorFile, before: Memory, seconds_later: float = 0, has_whole_files_only: bool = False) -> Any:
    return settle({"a.jsonl": found}, before, NOW + seconds_later, has_whole_files_only)


@pytest.mark.parametrize(
    ("name", "content", "whole"),
    [
        ("a.jsonl", b"", True),
        ("a.jsonl", LINE.encode(), True),
        ("A.JSONL", LINE.encode()[:-1], False),
        ("a.jsonl", LINE.encode()[:-1], False),
        ("a.jsonl.gz", gzip.compress(LINE.encode(), mtime=0), True),
        ("a.jsonl.gz", b"", False),
        ("a.parquet", b"", False),
        ("a.parquet", b"PAR1", False),
        ("a.parquet", b"PAR1 no footer yet", False),
        ("a.parquet", parquet(), True),
        ("a.parquet", parquet()[: len(parquet()) // 2], False),
    ],
)
def test_a_files_end_tells_whether_it_is_whole(name, content, whole):
    assert is_whole(name, file(content)) is whole


@pytest.mark.parametrize(
    ("content", "quiet_seconds", "waits"),
    [
        (LINE, QUIET_SECONDS - 0.1, True),
        (LINE, QUIET_SECONDS, False),
        (LINE[:-1], QUIET_SECONDS, True),
        (LINE[:-1], UNFINISHED_SECONDS - 0.1, True),
        (LINE[:-1], UNFINISHED_SECONDS, False),
    ],
)
def test_waiting_ends_with_quiet_for_a_whole_file_and_with_patience_for_others(content, quiet_seconds, waits):
    assert is_being_written("a.jsonl", file(content), quiet_seconds, has_whole_files_only=False) is waits


def test_an_object_of_a_store_is_never_read_and_waits_only_while_its_time_says_too_little():
    unreadable = CuratorFile(Content, 5, 0)  # type: ignore[arg-type]
    assert is_being_written("a.jsonl", unreadable, STORE_QUIET_SECONDS - 0.1, has_whole_files_only=True)
    assert not is_being_written("a.jsonl", unreadable, STORE_QUIET_SECONDS, has_whole_files_only=True)


def test_an_unchanged_file_counts_as_settled_however_young_it_is():
    young = file(quiet_seconds=0)
    before = Memory({"a.jsonl": (young.size_bytes, young.modified_ns)})
    found = look(young, before)
    assert (found.memory, found.being_written) == (before, 0)


def test_a_file_that_vanished_since_it_was_listed_waits_for_the_next_look(tmp_path: Path):
    gone = CuratorFile(tmp_path / "gone.jsonl", 5, int((NOW - QUIET_SECONDS) * 1e9))
    assert look(gone, Memory()).being_written == 1


@pytest.mark.parametrize("ahead_seconds", [1, 3600, 10 * 365 * 86400])
@pytest.mark.parametrize("has_whole_files_only", [False, True])
def test_a_file_from_the_future_waits_as_long_as_any_other_and_not_until_its_time_comes(
    ahead_seconds, has_whole_files_only
):
    future = file(quiet_seconds=-ahead_seconds)
    first = look(future, Memory(), 0, has_whole_files_only)
    assert (first.being_written, first.memory.settled) == (1, {})
    again = look(future, Memory.of(first.memory.cursor()), 1, has_whole_files_only)
    assert again.being_written == 1
    later = look(future, Memory.of(again.memory.cursor()), ahead_seconds + QUIET_SECONDS, has_whole_files_only)
    assert list(later.memory.settled) == ["a.jsonl"]
    assert later.memory.waiting == {}


def test_a_file_from_a_far_future_settles_after_the_quiet_period():
    future = file(quiet_seconds=-(10**8))
    first = look(future, Memory())
    assert list(look(future, first.memory, QUIET_SECONDS).memory.settled) == ["a.jsonl"]


def test_a_file_from_the_future_that_still_grows_begins_to_wait_anew():
    first = look(file(quiet_seconds=-3600), Memory())
    grown = file(LINE * 2, quiet_seconds=-3600)
    second = look(grown, first.memory, QUIET_SECONDS)
    assert second.being_written == 1
    assert look(grown, second.memory, 2 * QUIET_SECONDS).being_written == 0


def test_a_file_that_is_being_rewritten_keeps_its_entry_and_one_that_is_gone_loses_it():
    before = Memory({"a.jsonl": (1, 1), "gone.jsonl": (2, 2)})
    assert look(file(quiet_seconds=0), before).memory.settled == {"a.jsonl": (1, 1)}


entries = st.dictionaries(st.text(min_size=1), st.tuples(st.integers(0), st.integers(0)), max_size=4)
waits = st.dictionaries(st.text(min_size=1), st.tuples(st.integers(0), st.integers(0), st.floats(0, 1e10)), max_size=4)


@given(entries, waits, st.text(max_size=5))
def test_a_cursor_gives_back_what_it_was_made_from(settled, waiting, run_key):
    memory = Memory(settled, waiting, run_key)
    assert Memory.of(memory.cursor()) == memory


def test_a_cursor_of_the_first_version_and_none_at_all_are_understood():
    assert Memory.of('{"a.jsonl": [5, 7]}') == Memory({"a.jsonl": (5, 7)})
    assert Memory.of(None) == Memory.of("{}") == Memory()


@pytest.mark.parametrize("cursor", ["{", "[]", "5", '"a"', '{"a.jsonl": 5}', '{"version": 2}', "not JSON"])
def test_a_cursor_that_cannot_be_read_counts_as_none(cursor):
    assert Memory.of(cursor) == Memory()


@given(st.lists(entries, min_size=1, max_size=6))
def test_states_that_follow_each_other_never_share_a_run_key_and_the_same_steps_give_the_same_keys(states):
    def keys() -> list[str]:
        memory, made = Memory(), []
        for settled in states:
            memory = Memory(settled).with_next_run_key(memory)
            made.append(memory.run_key)
        return made

    assert keys() == keys()
    assert len(set(keys())) == len(states)
