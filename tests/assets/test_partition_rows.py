"""Replacing the rows and drops of many partitions: how many transactions, and what one that fails takes with it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from resources.errors import SynthError
from resources.lake import Lake
from synth_assets.assets.partition_rows import ROWS_PER_TRANSACTION, Item, PartitionTable
from synth_assets.core.request_planning import Drop
from synth_assets.core.tables import rephrased

SPEC = rephrased("distill")


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = Lake(f"sqlite:{tmp_path}/lake/catalog.sqlite", f"{tmp_path}/lake/data")
    lake.upgrade()
    return lake


def row(partition: str, place: int) -> dict[str, Any]:
    return {
        "document_id": f"{partition}-{place}", "curator_file": partition, "text": f"Text {place}.", "structured": None,
        "segment_count": 1, "dropped_segment_count": 0, "prompt_tokens": 10, "completion_tokens": 5, "model": "m",
        "strategy_fingerprint": "f", "segments": [],
    }  # fmt: skip


def drop(partition: str) -> Drop:
    return Drop(f"{partition}-dropped", partition, None, "distill", "post_processing", "too_short", "")


def rows_and_a_drop(count: int) -> Callable[[str], Iterator[Item]]:
    def stream(partition: str) -> Iterator[Item]:
        yield from (row(partition, place) for place in range(count))
        yield drop(partition)

    return stream


def snapshots(lake: Lake) -> int:
    return lake.query("SELECT count(*) n FROM ducklake_snapshots('lake')")["n"][0].as_py()


def rows(lake: Lake, table: str) -> dict[str, int]:
    found = lake.query(f"SELECT curator_file, count(*) n FROM {table} GROUP BY 1").to_pylist()
    return {found_row["curator_file"]: found_row["n"] for found_row in found}


def table_of(lake: Lake, stream: Callable[[str], Iterable[Item]], **changes: Any) -> PartitionTable:
    return PartitionTable(lake, SPEC, stream, "distill", True, **changes)


def names(count: int) -> list[str]:
    return [f"{place:03}.jsonl" for place in range(count)]


def test_small_partitions_share_a_transaction_and_each_has_its_own_result(lake):
    table = table_of(lake, rows_and_a_drop(2))
    partitions = names(17)
    table.replace_next(partitions)
    before = snapshots(lake)
    results = table.replace_next(partitions)
    assert snapshots(lake) == before + 1
    assert list(results) == partitions[:-1]
    assert {(result.row_count, result.drops_by_reason.total()) for result in results.values()} == {(2, 1)}
    assert len({result.version.hexdigest() for result in results.values()}) == 16
    assert rows(lake, SPEC.name) == dict.fromkeys(partitions[:-1], 2)
    assert rows(lake, "ledger.drops") == dict.fromkeys(partitions[:-1], 1)


def test_a_partition_has_the_same_version_alone_and_together(lake):
    table = table_of(lake, rows_and_a_drop(3))
    together = table.replace_next(names(4))
    for name in names(4):
        assert table.replace_next([name])[name].version.hexdigest() == together[name].version.hexdigest()


def test_a_transaction_ends_with_the_partition_that_fills_it(lake):
    table = table_of(lake, rows_and_a_drop(ROWS_PER_TRANSACTION // 2))
    assert list(table.replace_next(names(5))) == names(2)
    assert rows(lake, SPEC.name) == dict.fromkeys(names(2), ROWS_PER_TRANSACTION // 2)


def test_rows_that_are_gone_are_gone_and_other_partitions_and_strategies_are_left_alone(lake):
    table_of(lake, rows_and_a_drop(3)).replace_next(names(3))
    PartitionTable(lake, rephrased("wiki_rephrase"), lambda name: [row(name, 0)]).replace_next(names(1))
    table_of(lake, lambda _: iter(())).replace_next(names(2))
    assert rows(lake, SPEC.name) == {"002.jsonl": 3}
    assert rows(lake, "ledger.drops") == {"002.jsonl": 1}
    assert rows(lake, rephrased("wiki_rephrase").name) == {"000.jsonl": 1}


def test_a_stream_that_raises_leaves_the_old_rows_of_all_that_would_have_been_written_with_it(lake):
    def breaking(partition: str) -> Iterator[Item]:
        yield row(partition, 0)
        if partition == "002.jsonl":
            raise SynthError("The file is gone.")

    table_of(lake, rows_and_a_drop(3)).replace_next(names(4))
    with pytest.raises(SynthError, match="The file is gone"):
        table_of(lake, breaking).replace_next(names(4))
    assert rows(lake, SPEC.name) == dict.fromkeys(names(4), 3)
    assert rows(lake, "ledger.drops") == dict.fromkeys(names(4), 1)


def test_where_one_partition_is_read_for_another_each_is_written_before_the_next_is_streamed(lake):
    seen: list[dict[str, int]] = []

    def reading(partition: str) -> Iterator[Item]:
        seen.append(rows(lake, SPEC.name) if lake.has_table(SPEC.name) else {})
        yield row(partition, 0)

    table = table_of(lake, reading, is_read_by_others=True)
    waiting = names(3)
    while waiting:
        waiting = waiting[len(table.replace_next(waiting)) :]
    assert seen == [{}, dict.fromkeys(names(1), 1), dict.fromkeys(names(2), 1)]


def test_a_file_of_nothing_but_drops_is_not_held_in_memory(lake):
    count = 30_000

    def only_drops(partition: str) -> Iterator[Item]:
        for place in range(count):
            yield Drop(f"{place:032}", partition, place, "distill", "post_processing", "too_short", "few words")

    tracemalloc.start()
    try:
        [result] = table_of(lake, only_drops).replace_next(names(1)).values()
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 200 * count
    assert result.metadata()["drops"] == count
    found = lake.query("SELECT count(DISTINCT document_id) AS ids, sum(row_number) AS places FROM ledger.drops")
    assert found.to_pylist() == [{"ids": count, "places": count * (count - 1) // 2}]
