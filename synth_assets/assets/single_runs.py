"""How an asset without partitions materializes: its versions, and its table through the IO manager."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from resources.duckdb_io_manager import TableUpdate
from resources.lake import Replacement
from synth_assets.assets.keys import table_key
from synth_assets.assets.versions import UPSTREAM_TAG, RootVersions, Versions
from synth_assets.core.fingerprints import MultisetHash
from synth_assets.core.tables import TableSpec


def upstream_tag(context: dg.AssetExecutionContext, roots: RootVersions, key: dg.AssetKey) -> dict[str, str]:
    """The tag that says what this materialization is made from; taken before any input is read."""
    versions = Versions(context.instance, context.job_def.asset_layer.asset_graph, roots)
    return {UPSTREAM_TAG: versions.upstream(key, None)}


def materialize_table(
    context: dg.AssetExecutionContext,
    spec: TableSpec,
    roots: RootVersions,
    build: Callable[[], tuple[pa.Table, Mapping[str, Any]]],
    also: Callable[[pa.Table], Sequence[Replacement]] = lambda _table: (),
) -> dg.MaterializeResult:
    """Materialize a whole table from `build() -> (table, metadata)`; the IO manager replaces it in one transaction.

    In the same transaction goes what `also` makes of the table.
    """
    tags = upstream_tag(context, roots, table_key(spec))
    table, metadata = build()
    version = MultisetHash()
    version.add_table(table, spec.version_columns)
    return dg.MaterializeResult(
        value=TableUpdate(table, tuple(also(table))),
        metadata={"dagster/row_count": table.num_rows, **metadata},
        data_version=dg.DataVersion(version.hexdigest()),
        tags=tags,
    )
