"""Which asset partitions are stale, and why. The one answer that plan, run, sensor and automation rest on.

In: versions from the event log and the live roots. Out: running anything (`planning.run`) and estimating what it costs
(`planning.estimate`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

import dagster as dg

from resources.lake import Lake
from synth_assets.assets.check_outcomes import CheckOutcomes
from synth_assets.assets.keys import CURATED, CURATOR_FILES
from synth_assets.assets.versions import CODE_VERSION_TAG, UPSTREAM_TAG, Versions
from synth_assets.core.tables import CURATED_DOCUMENTS

AssetPartition = tuple[dg.AssetKey, str | None]


@dataclass(frozen=True)
class StalePartition:
    """One thing to materialize. `reason` is one of missing, code, data, duplicates, upstream, blocked.

    What is blocked is not materialized: `blocked_by` is the blocking check that something above it fails.
    """

    asset: dg.AssetKey
    partition: str | None
    reason: str
    blocked_by: dg.AssetCheckKey | None = None

    @property
    def is_blocked(self) -> bool:
        """Whether a run leaves it alone."""
        return self.blocked_by is not None

    def as_dict(self) -> dict[str, str | None]:
        """The form that `plan --json` prints."""
        shown = {"asset": ".".join(self.asset.path), "partition": self.partition, "reason": self.reason}
        return shown if self.blocked_by is None else {**shown, "blocked_by": check_title(self.blocked_by)}


def check_title(check: dg.AssetCheckKey) -> str:
    """How a check is shown: asset and name."""
    return f"{'.'.join(check.asset_key.path)}: {check.name}"


def own_staleness(versions: Versions, graph: dg.AssetGraph, key: dg.AssetKey) -> Iterator[StalePartition]:
    """Partitions of one asset that are stale by themselves, given what their parents are now."""
    node = graph.get(key)
    made = versions.tags(key)
    for partition in versions.partitions(key):
        tags = made.get(partition)
        if tags is None or UPSTREAM_TAG not in tags:
            yield StalePartition(key, partition, "missing")
        elif node.code_version and tags.get(CODE_VERSION_TAG) != node.code_version:
            yield StalePartition(key, partition, "code")
        elif tags.get(UPSTREAM_TAG) != versions.upstream(key, partition):
            yield StalePartition(key, partition, "data")


def duplicate_staleness(lake: Lake) -> set[str]:
    """Files whose duplicate marks are wrong: the copy they point to is gone, or two files hold the same document."""
    if not lake.has_table(CURATED_DOCUMENTS.name):
        return set()
    found = lake.query(
        "WITH owners AS (SELECT document_id, min(curator_file) AS first_file, count(*) AS owner_count "  # noqa: S608
        f"FROM {CURATED_DOCUMENTS.name} WHERE NOT is_duplicate GROUP BY 1) "
        f"SELECT DISTINCT rows.curator_file FROM {CURATED_DOCUMENTS.name} AS rows "
        "LEFT JOIN owners USING (document_id) WHERE (rows.is_duplicate AND owners.document_id IS NULL) "
        "OR (NOT rows.is_duplicate AND owner_count > 1 AND rows.curator_file <> first_file)"
    )
    return set(found["curator_file"].to_pylist())


class StalePlanner:
    """All that is stale now, level by level, with what lies below it."""

    def __init__(
        self,
        graph: dg.AssetGraph,
        versions: Versions,
        lake: Lake,
        excluded: Collection[dg.AssetKey] = (),
    ) -> None:
        self._graph = graph
        self._versions = versions
        self._lake = lake
        self._excluded = set(excluded)
        self._outcomes = CheckOutcomes.of_graph(versions.history, graph)

    def levels(self) -> list[list[dg.AssetKey]]:
        """Materializable assets in topological levels, those left out missing."""
        return [
            sorted(key for key in level if self._graph.get(key).is_materializable and key not in self._excluded)
            for level in self._graph.toposorted_asset_keys_by_level
        ]

    def stale(self, key: dg.AssetKey) -> list[StalePartition]:
        """What of one asset is stale by itself; a file that is not in the folder any more has nothing to be stale.

        What is below a failed blocking check has the reason `blocked`.
        """
        found = {item.partition: item for item in own_staleness(self._versions, self._graph, key)}
        if key == CURATED:
            here = self._versions.data_versions(CURATOR_FILES)
            found = {partition: item for partition, item in found.items() if partition in here}
            for name in duplicate_staleness(self._lake):
                if name in here:
                    found.setdefault(name, StalePartition(key, name, "duplicates"))
        order = {partition: index for index, partition in enumerate(self._versions.partitions(key))}
        return sorted(map(self._or_blocked, found.values()), key=lambda item: order.get(item.partition, len(order)))

    def everything(self) -> list[StalePartition]:
        """What a run would materialize at most: stale by itself, or below something stale (reason `upstream`).

        Among them, with the reason `blocked`, is what it would leave alone until a check passes.
        """
        stale: dict[AssetPartition, StalePartition] = {}
        for key in (key for level in self.levels() for key in level):
            for item in self.stale(key):
                stale[key, item.partition] = item
            moving = {item.asset for item in stale.values() if not item.is_blocked}
            for partition in self._versions.partitions(key):
                if (key, partition) not in stale and self._is_below(key, partition, stale, moving):
                    stale[key, partition] = self._or_blocked(StalePartition(key, partition, "upstream"))
        return list(stale.values())

    def _or_blocked(self, item: StalePartition) -> StalePartition:
        check = self._blocked.get((item.asset, item.partition))
        return item if check is None else StalePartition(item.asset, item.partition, "blocked", check)

    @cached_property
    def _blocked(self) -> dict[AssetPartition, dg.AssetCheckKey]:
        """Everything below a failed blocking check; what reduces over all partitions goes on with the others."""
        blocked: dict[AssetPartition, dg.AssetCheckKey] = {}
        if all(outcome.has_passed for asset in self._outcomes.checked_assets() for outcome in self._outcomes.of(asset)):
            return blocked
        for key in (key for level in self.levels() for key in level):
            for parent in sorted(self._graph.get(key).parent_keys):
                for partition, source in self._pairs(key, parent):
                    check = self._outcomes.failing(parent, source) or blocked.get((parent, source))
                    if check is not None:
                        blocked.setdefault((key, partition), check)
        return blocked

    def _pairs(self, key: dg.AssetKey, parent: dg.AssetKey) -> Iterator[tuple[str | None, str | None]]:
        """Partitions of an asset, each with the one of its parent that it rests on; none where it reduces over many."""
        definition = self._graph.get(parent).partitions_def
        if definition is None or definition == self._graph.get(key).partitions_def:
            for partition in self._versions.partitions(key):
                yield partition, None if definition is None else partition

    def _is_below(
        self,
        key: dg.AssetKey,
        partition: str | None,
        stale: Collection[AssetPartition],
        moving: Collection[dg.AssetKey],
    ) -> bool:
        node = self._graph.get(key)
        for parent in node.parent_keys:
            definition = self._graph.get(parent).partitions_def
            if definition is None or (partition is not None and definition == node.partitions_def):
                if (parent, partition if definition is not None else None) in stale:
                    return True
            elif parent in moving:
                return True
        return False
