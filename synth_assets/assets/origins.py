"""The asset graph as the report shows it: which table is made from which, and in which version each one is.

In: nodes and versions from Dagster's event log. Out: rows of the tables and the picture (`reporting.origin_data`).
"""

from __future__ import annotations

import hashlib

import dagster as dg

from synth_assets.assets.keys import table_name
from synth_assets.assets.versions import PartitionVersions, Versions
from synth_assets.reporting.origin_data import Origin


def origins(graph: dg.AssetGraph, versions: Versions) -> list[Origin]:
    """Every asset of the graph; one that was never made has no data version."""
    return [_origin(graph, versions, key) for key in sorted(graph.get_all_asset_keys())]


def _origin(graph: dg.AssetGraph, versions: Versions, key: dg.AssetKey) -> Origin:
    node, made = graph.get(key), versions.data_versions(key)
    return Origin(
        name=table_name(key),
        parents=tuple(table_name(parent) for parent in sorted(node.parent_keys)),
        data_version=_one_version(made),
        partition_count=len(made) if node.partitions_def is not None else 0,
        is_root=not node.is_materializable,
    )


def _one_version(made: PartitionVersions) -> str | None:
    if set(made) <= {None}:
        return made.get(None)
    lines = "".join(f"{partition}|{made[partition]}\n" for partition in sorted(made, key=str))
    return hashlib.blake2b(lines.encode(), digest_size=16).hexdigest()
