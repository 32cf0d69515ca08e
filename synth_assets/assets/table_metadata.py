"""What every table's asset page shows before anything is materialized: its columns and where it lies."""

from __future__ import annotations

from typing import Any

import dagster as dg

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
