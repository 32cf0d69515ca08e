"""Files of the Curator folder against the partitions that exist: new, changed, deleted, unchanged.

In: comparing, adding partitions, and retiring those of deleted files. Out: when that happens (`planning.run`, sensor).
"""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg
from dagster import DagsterInstance

from resources.lake import Lake
from synth_assets.assets.keys import CURATED, CURATOR_FILE, CURATOR_FILES, table_name
from synth_assets.assets.versions import DATA_VERSION_TAG, UPSTREAM_TAG, Versions
from synth_assets.core.tables import DROPS

RETIRED = {DATA_VERSION_TAG: "retired"}
"""Tags of the last event of a deleted file's partition: without the upstream tag it counts as never made."""


@dataclass(frozen=True)
class FileChanges:
    """Names of files by what happened to them since the seed was last materialized."""

    new: tuple[str, ...]
    changed: tuple[str, ...]
    deleted: tuple[str, ...]
    unchanged: tuple[str, ...]

    def as_dict(self) -> dict[str, list[str]]:
        """The form that `plan --json` prints."""
        return {name: list(getattr(self, name)) for name in ("new", "changed", "deleted", "unchanged")}


def file_changes(versions: Versions) -> FileChanges:
    """Compare the folder with the partitions and with the versions that the seed was made from."""
    here = versions.data_versions(CURATOR_FILES)
    partitions = {str(partition) for partition in versions.partitions(CURATED)}
    made_from = {
        partition: tags.get(f"dagster/input_data_version/{CURATOR_FILES.to_user_string()}")
        for partition, tags in versions.tags(CURATED).items()
        if UPSTREAM_TAG in tags
    }
    names = sorted(str(name) for name in here)
    new = [name for name in names if name not in made_from]
    changed = [name for name in names if name in made_from and made_from[name] != here[name]]
    unchanged = [name for name in names if name in made_from and made_from[name] == here[name]]
    return FileChanges(tuple(new), tuple(changed), tuple(sorted(partitions - set(names))), tuple(unchanged))


def synchronise_partitions(instance: DagsterInstance, lake: Lake, changes: FileChanges, tables: list[str]) -> None:
    """Add partitions for new files; retire those of deleted ones: their rows leave every table, the ledger stays."""
    name = str(CURATOR_FILE.name)
    known = set(instance.get_dynamic_partitions(name))
    if missing := [file for file in (*changes.new, *changes.changed) if file not in known]:
        instance.add_dynamic_partitions(name, missing)
    for file in changes.deleted:
        # First, so that the rows count as missing however this ends, also when the file comes back one day.
        # The file's own event tells those who go by observations, and makes its return an event as well.
        instance.report_runless_asset_event(dg.AssetObservation(CURATOR_FILES, partition=file, tags=RETIRED))
        for table in tables:
            key = dg.AssetKey(table.split("."))
            instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=file, tags=RETIRED))
        for table in (*tables, DROPS.name):
            if lake.has_table(table):
                lake.delete(table, {"curator_file": file})
        instance.delete_dynamic_partition(name, file)


def partitioned_tables(graph: dg.AssetGraph) -> list[str]:
    """Names of the tables that have a partition for each Curator file."""
    return [
        table_name(node.key)
        for node in graph.asset_nodes
        if node.is_materializable and node.partitions_def == CURATOR_FILE
    ]
