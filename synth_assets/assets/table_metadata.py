"""What a table's asset page shows: its columns and where it lies, and of a small table its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from synth_assets.core.tables import TableSpec


def definition_metadata(spec: TableSpec, partition_column: str | None = None) -> dict[str, Any]:
    """Column schema and table name, in the keys that Dagster's UI renders specially."""
    columns = [dg.TableColumn(field.name, str(field.type)) for field in spec.schema]
    metadata: dict[str, Any] = {
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "dagster/table_name": f"lake.{spec.name}",
    }
    if partition_column:
        metadata["partition_column"] = partition_column
    return metadata


MOST_ROWS_SHOWN = 50


def markdown_table(table: pa.Table, columns: Sequence[str]) -> dg.MarkdownMetadataValue:
    """The first rows of a small table, for a materialization's metadata."""
    lines = [columns, ["---"] * len(columns)]
    lines += [[_cell(row[name]) for name in columns] for row in table.slice(0, MOST_ROWS_SHOWN).to_pylist()]
    if table.num_rows > MOST_ROWS_SHOWN:
        lines.append([f"and {table.num_rows - MOST_ROWS_SHOWN:,} more", *[""] * (len(columns) - 1)])
    return dg.MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")
