"""Which version of everything exists, and which versions each materialization was made from. Bulk reads only.

In: Dagster's event log and the live versions of the roots (files, models). Out: deciding what to run (`planning`).
Dagster's own staleness answer stops at 100 upstream partitions and does not see deleted ones, so every materialization
carries a tag with the hash of the upstream versions that it consumed, and that is what is compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

import dagster as dg
from dagster import DagsterEventType, DagsterInstance

from synth_assets.assets.history import History, history_of
from synth_assets.assets.keys import CURATOR_FILE, generations_key

UPSTREAM_TAG = "synth/upstream"
DATA_VERSION_TAG = "dagster/data_version"
CODE_VERSION_TAG = "dagster/code_version"
FAILED_TAG = "synth/failed"
"""Of an observation: the last attempt at this partition failed. Of a materialization: so it did in a run that went on
below; the value is the run's id, and without an upstream tag the partition counts as never made."""

PartitionVersions = Mapping[str | None, str]


class RootVersions(Protocol):
    """Live versions of what the graph rests on."""

    def of(self, key: dg.AssetKey) -> PartitionVersions | None:
        """Version by partition (None = unpartitioned) of a root; None where the key is no root."""
        ...


def generation_of(roots: RootVersions, key: dg.AssetKey, partition: str | None) -> int:
    """Which draw of its answers this partition of an asset is to be made from; 0 is the first."""
    generations = roots.of(generations_key(key)) or {}
    return max(int(generations.get(name, 0)) for name in (None, partition))


class Versions:
    """A snapshot of the event log: one or two queries for each asset, made when first asked for."""

    def __init__(self, source: DagsterInstance | History, graph: dg.AssetGraph, roots: RootVersions) -> None:
        self.history = history_of(source)
        self._graph = graph
        self._roots = roots
        self._tags: dict[dg.AssetKey, dict[str | None, Mapping[str, str]]] = {}
        self._data_versions: dict[dg.AssetKey, PartitionVersions] = {}
        self._partitions: dict[str, list[str]] = {}
        self._events: dict[dg.AssetKey, Mapping[str, int]] = {}

    def with_partitions(self, names: Collection[str]) -> Versions:
        """The same, as if the dynamic partitions were these: what a run would see after it has added the new files."""
        other = Versions(self.history, self._graph, self._roots)
        other._partitions[str(CURATOR_FILE.name)] = sorted(names)
        return other

    def partitions(self, key: dg.AssetKey) -> list[str | None]:
        """The partitions that an asset has now; [None] for one without partitions."""
        definition = self._graph.get(key).partitions_def
        if definition is None:
            return [None]
        name = str(getattr(definition, "name", definition))
        if name not in self._partitions:
            is_dynamic = isinstance(definition, dg.DynamicPartitionsDefinition)
            keys = self.history.dynamic_partitions(name) if is_dynamic else definition.get_partition_keys()
            self._partitions[name] = list(keys)
        return list(self._partitions[name])

    def tags(self, key: dg.AssetKey) -> Mapping[str | None, Mapping[str, str]]:
        """Tags of the latest materialization by partition, those of deleted partitions left out."""
        if key not in self._tags:
            existing = set(self.partitions(key))
            self._tags[key] = {p: tags for p, tags in self._latest_tags(key).items() if p in existing}
        return self._tags[key]

    def data_versions(self, key: dg.AssetKey) -> PartitionVersions:
        """Data version by partition, of a root as it is now, of an asset as it was last materialized."""
        live = self._roots.of(key)
        if live is not None:
            return live
        if key not in self._data_versions:
            self._data_versions[key] = {
                p: tags[DATA_VERSION_TAG] for p, tags in self.tags(key).items() if DATA_VERSION_TAG in tags
            }
        return self._data_versions[key]

    def parents(self, key: dg.AssetKey, partition: str | None) -> Iterable[tuple[dg.AssetKey, list[str | None]]]:
        """Each upstream asset with the partitions of it that this partition is made from."""
        node = self._graph.get(key)
        for parent in sorted(node.parent_keys):
            definition = self._graph.get(parent).partitions_def
            if definition is None:
                yield parent, [None]
            elif partition is not None and definition == node.partitions_def:
                yield parent, [partition]
            else:
                yield parent, sorted(self.data_versions(parent), key=str)

    def upstream(self, key: dg.AssetKey, partition: str | None) -> str:
        """Hash of the versions, partition by partition, of everything that this partition is made from."""
        digest = hashlib.blake2b(digest_size=16)
        for parent, partitions in self.parents(key, partition):
            versions = self.data_versions(parent)
            for upstream_partition in partitions:
                line = f"{parent.to_user_string()}|{upstream_partition}|{versions.get(upstream_partition)}\n"
                digest.update(line.encode())
        # Left out where it is 0, as it was before there were generations: nothing made then becomes stale.
        if generation := generation_of(self._roots, key, partition):
            digest.update(f"generation|{generation}\n".encode())
        return digest.hexdigest()

    def input_tags(self, key: dg.AssetKey, partition: str | None) -> dict[str, str]:
        """Dagster's own provenance tags, so that its UI judges staleness from the same versions.

        Of a partition it compares events: the pointer is the event that the input had last; without one, the asset
        counts as never made from that input.
        """
        tags: dict[str, str] = {}
        for parent, partitions in self.parents(key, partition):
            version = self.data_versions(parent).get(partitions[0]) if len(partitions) == 1 else None
            if version is not None:
                pointer = self._event_ids(parent).get(partitions[0]) if partitions[0] is not None else None
                name = parent.to_user_string()
                tags[f"dagster/input_data_version/{name}"] = version
                tags[f"dagster/input_event_pointer/{name}"] = "NULL" if pointer is None else str(pointer)
        return tags

    def _event_ids(self, key: dg.AssetKey) -> Mapping[str, int]:
        """Storage id, by partition, of the latest materialization, or of a root's latest observation."""
        if key not in self._events:
            is_root = self._roots.of(key) is not None
            kind = DagsterEventType.ASSET_OBSERVATION if is_root else DagsterEventType.ASSET_MATERIALIZATION
            self._events[key] = self.history.latest_event_ids(key, kind)
        return self._events[key]

    def _latest_tags(self, key: dg.AssetKey) -> dict[str | None, Mapping[str, str]]:
        if self._graph.get(key).partitions_def is None:
            event = self.history.last_materialization(key)
            materialization = event.asset_materialization if event else None
            return {None: materialization.tags or {}} if materialization else {}
        events = self.history.materializations(key, sorted(self._event_ids(key).values()))
        made = [event.asset_materialization for event in events]
        return {materialization.partition: materialization.tags or {} for materialization in made if materialization}
