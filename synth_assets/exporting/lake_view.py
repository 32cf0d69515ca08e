"""The lake as it was at one commit, so that everything in an export is of one state while a run goes on writing.

In: the tables of an export by name, frozen at a snapshot. Out: what is asked of them (`selection`, `long_rows`,
`card_data`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from resources.lake import Lake


class LakeView:
    """Reads of one snapshot. Raises NoLakeError where there is no lake."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        # Before the snapshot: a table that is there now is there in it.
        tables = lake.query(
            "SELECT schema_name || '.' || table_name AS name FROM duckdb_tables() WHERE database_name = 'lake'"
        )
        self._present = set(tables["name"].to_pylist())
        self.snapshot_id = lake.snapshot_id()

    def has(self, table: str) -> bool:
        """True where the table exists in this view."""
        return table in self._present

    def at(self, table: str) -> str:
        """The table as it stands after FROM or JOIN."""
        return f"(FROM {table} AT (VERSION => {self.snapshot_id}))"

    def columns(self, table: str) -> pa.Schema:
        """Names and types of a table's columns."""
        return self._lake.query(f"SELECT * FROM {self.at(table)} LIMIT 0").schema  # noqa: S608

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """A few rows, at once."""
        return self._lake.query(sql, parameters).to_pylist()

    def stream(self, sql: str, parameters: Sequence[Any], schema: pa.Schema) -> pa.RecordBatchReader:
        """Rows in the schema's types, batch by batch."""
        return self._lake.stream(sql, parameters, schema)
