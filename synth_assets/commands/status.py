"""`synth status`: where every asset stands."""

from __future__ import annotations

from collections import Counter
from typing import Any

import dagster as dg
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from synth_assets.assets.keys import ASKED_FOR_BY_NAME, table_name
from synth_assets.assets.versions import UPSTREAM_TAG, Versions
from synth_assets.cli import emit
from synth_assets.commands.opening import Opened, open_project
from synth_assets.planning.stale import StalePlanner, check_title
from synth_assets.planning.summary import document_count, drops_by_reason


def status_command(as_json: bool) -> None:
    """Print partitions materialized, stale and failed for each asset, documents, and drops by reason."""
    opened = open_project()
    report = {
        "assets": asset_status(opened),
        "documents": document_count(opened.project.lake),
        "drops": drops_by_reason(opened.project.lake),
    }
    if as_json:
        emit(report)
        return
    table = Table("asset", "partitions", "materialized", "stale", "failed", box=SIMPLE)
    for name, row in report["assets"].items():
        table.add_row(name, *(str(row[column]) for column in ("partitions", "materialized", "stale", "failed")))
    console = Console()
    console.print(table)
    for check in sorted({check for row in report["assets"].values() for check in row["blocked_by"]}):
        console.print(f"Blocked until it passes: {check}", markup=False, highlight=False)
    dropped = ", ".join(f"{count} {reason}" for reason, count in report["drops"].items()) or "none"
    console.print(f"{report['documents']} training documents. Drops: {dropped}.", highlight=False)


def asset_status(opened: Opened) -> dict[str, dict[str, Any]]:
    """Counts by asset: how many partitions there are, are materialized, are stale, failed last."""
    versions = Versions(opened.instance, opened.graph, opened.project.roots)
    planner = StalePlanner(opened.graph, versions, opened.project.lake, ASKED_FOR_BY_NAME)
    planned = planner.everything()
    stale = Counter(item.asset for item in planned)
    blocking = {(item.asset, check_title(item.blocked_by)) for item in planned if item.blocked_by is not None}
    status = {}
    for key in (key for level in StalePlanner(opened.graph, versions, opened.project.lake).levels() for key in level):
        status[table_name(key)] = {
            "partitions": len(versions.partitions(key)),
            "materialized": sum(1 for tags in versions.tags(key).values() if UPSTREAM_TAG in tags),
            "stale": stale[key],
            "blocked_by": sorted(check for asset, check in blocking if asset == key),
            "failed": len(failed_partitions(opened.instance, key, set(versions.partitions(key)))),
        }
    return status


def failed_partitions(instance: dg.DagsterInstance, key: dg.AssetKey, existing: set[str | None]) -> list[str]:
    """Partitions whose last attempt failed: observed as failed after they were last materialized."""
    storage = instance.event_log_storage
    observed = storage.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_OBSERVATION)
    made = storage.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION)
    return sorted(p for p, storage_id in observed.items() if p in existing and storage_id > made.get(p, -1))
