"""Dagster's way to the lake: the asset key is the table, the partition key is a value of one of its columns.

In: which rows an output replaces and an input loads, and the metadata of a stored table. Out: the
transaction itself (`resources.lake`), and what the rows are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pyarrow as pa

from resources.lake import Lake, Replacement, Rows, Where

PARTITION_COLUMN = "curator_file"
"""Where an asset's metadata does not name another one under `partition_column`."""


@dataclass(frozen=True)
class TableUpdate:
    """An asset's rows, and rows of other tables replaced in the same transaction (its drops, say)."""

    rows: Rows
    also: tuple[Replacement, ...] = ()


class DuckDBIOManager(dg.ConfigurableIOManager):
    """Stores each asset as the table `schema.table` that its two-part key names.

    Outputs are a pa.Table, a pa.RecordBatchReader, a TableUpdate, or None (the asset has stored its rows
    itself). The context's partitions are replaced, or the whole table where there are none, in one
    transaction. Inputs are a pa.RecordBatchReader where the parameter is annotated so, otherwise a pa.Table,
    of the context's partitions only.
    """

    catalog: str
    data_path: str

    @property
    def lake(self) -> Lake:
        """The lake behind it; asset bodies may use it directly."""
        return Lake(self.catalog, self.data_path)

    def handle_output(self, context: dg.OutputContext, obj: TableUpdate | Rows | None) -> None:
        """Replaces the context's partitions. LakeError as `Lake.replace`; TypeError for another value."""
        if obj is None:
            return
        update = obj if isinstance(obj, TableUpdate) else TableUpdate(obj)
        if not isinstance(update.rows, pa.Table | pa.RecordBatchReader):
            raise TypeError(f"{context.asset_key} returned {type(update.rows)}: expected pa.Table, a stream or None.")
        table = _table(context.asset_key)
        keys = context.asset_partition_keys if context.has_asset_partitions else None
        where = _where(context.definition_metadata, keys)
        row_counts = self.lake.replace([Replacement(table, update.rows, where), *update.also])
        context.add_output_metadata(
            {
                "dagster/row_count": row_counts[0],
                "dagster/table_name": table,
                "lake_snapshot": self.lake.snapshot_id(),
            }
        )

    def load_input(self, context: dg.InputContext) -> Rows:
        """The rows of the context's partitions, or all. LakeError where the table does not exist yet."""
        upstream = context.upstream_output
        keys = context.asset_partition_keys if context.has_asset_partitions else None
        where = _where(upstream.definition_metadata if upstream is not None else {}, keys)
        load = self.lake.scan if context.dagster_type.typing_type is pa.RecordBatchReader else self.lake.read
        return load(_table(context.asset_key), where=where)


def _table(key: dg.AssetKey) -> str:
    if len(key.path) != 2:
        raise ValueError(f"{key} has {len(key.path)} parts: an asset that is stored as a table has schema and table.")
    return ".".join(key.path)


def _where(metadata: Any, partition_keys: Sequence[str] | None) -> Where:
    if partition_keys is None:
        return {}
    column = (metadata or {}).get("partition_column", PARTITION_COLUMN)
    return {column: partition_keys[0] if len(partition_keys) == 1 else partition_keys}
