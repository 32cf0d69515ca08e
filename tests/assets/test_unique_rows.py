"""Rows that share what should be unique are found in whichever pass they are looked at."""

from __future__ import annotations

import pyarrow as pa
import pytest

from resources.lake import Lake, Replacement
from synth_assets.assets import unique_rows
from synth_assets.assets.unique_rows import files_with_shared_rows

TABLE = "seed.rows"


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(f"sqlite:{tmp_path}/lake/catalog.sqlite", f"{tmp_path}/lake/data")


def stored(lake: Lake, rows: list[tuple[str, int]]) -> None:
    table = pa.Table.from_pylist([{"curator_file": file, "row_number": number} for file, number in rows])
    lake.replace([Replacement(TABLE, table, {})])


@pytest.mark.parametrize("rows_at_once", [1, 7, 1_000])
def test_files_with_shared_rows_are_found_in_any_number_of_passes(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr(unique_rows, "ROWS_AT_ONCE", rows_at_once)
    rows = [(file, number) for file in ("a", "b", "c", "d") for number in range(50)]
    stored(lake, rows)
    assert files_with_shared_rows(lake, TABLE, ("curator_file", "row_number")) == []

    stored(lake, [*rows, ("d", 3), ("b", 49), ("b", 48)])
    assert files_with_shared_rows(lake, TABLE, ("curator_file", "row_number")) == ["b", "d"]
    assert files_with_shared_rows(lake, TABLE, ("row_number",)) == ["a", "b", "c", "d"]


def test_rows_of_two_files_that_share_an_id_name_both(lake: Lake) -> None:
    stored(lake, [("a", 1), ("b", 1), ("c", 2)])
    assert files_with_shared_rows(lake, TABLE, ("row_number",)) == ["a", "b"]
