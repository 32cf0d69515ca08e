"""What keeps a partition from being made: a parent that failed for this file, or one that fails a blocking check.

In: the question, for many partitions at once. Out: who asks it (`partition_runs`, `rephrased`). A parent that was never
materialized is no obstacle: a strategy that was not chosen is merged when it comes.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
from dagster import DagsterInstance

from synth_assets.assets.check_outcomes import CheckOutcomes
from synth_assets.assets.versions import FAILED_TAG, Versions


def obstacles(
    instance: DagsterInstance, graph: dg.AssetGraph, versions: Versions, key: dg.AssetKey, partitions: Sequence[str]
) -> dict[str, str]:
    """Those of the partitions that may not be made now, each with the reason in words."""
    node = graph.get(key)
    outcomes = CheckOutcomes.by_name(instance, node.parent_keys)
    found: dict[str, str] = {}
    for parent in sorted(node.parent_keys):
        is_alike = graph.get(parent).partitions_def == node.partitions_def
        name = ".".join(parent.path)
        tags = versions.tags(parent) if is_alike else {}
        for partition in partitions:
            if partition in found:
                continue
            if FAILED_TAG in tags.get(partition, {}):
                found[partition] = f"It rests on {name}, which failed for this file."
            elif check := outcomes.failing(parent, partition if is_alike else None):
                found[partition] = f"It rests on {name}, which fails the check {check.name} for this file."
    return found
