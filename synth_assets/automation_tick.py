"""What one tick of declarative automation asks for: stale, nothing above it unsettled, and for a cause that is new.

In: the decision, asset by asset in the order of the graph, from one look at the planner. Out: Dagster's condition and
sensor around it (`automation`), and what is stale (`planning.stale`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import dagster as dg
from dagster import DagsterEventType, DagsterInstance

from resources.lake import Lake
from synth_assets.assets.keys import ASKED_FOR_BY_NAME, CURATED, CURATOR_FILES
from synth_assets.assets.versions import CODE_VERSION_TAG, DATA_VERSION_TAG, FAILED_TAG, UPSTREAM_TAG, Versions
from synth_assets.jobs import BRING_UP_TO_DATE
from synth_assets.observed_roots import ObservedRoots
from synth_assets.planning.stale import StalePlanner

MAX_REQUESTS_PER_CAUSE = 3
"""A request can be lost before it becomes a run: a backfill fails as a whole when one of its partitions is deleted."""

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

Partitions = Collection[str | None]


@dataclass(frozen=True)
class Request:
    """What a partition was last asked for with.

    `cause` is a hash of what it would be made from, `made` of what it was last made from, `planned_id` the event of the
    latest planned run before the request, `times` how often it was asked for.
    """

    cause: str
    made: str
    planned_id: int
    times: int


class AutomationTick:
    """One snapshot of the planner for all assets; each is decided once, its parents before it."""

    def __init__(self, instance: DagsterInstance, graph: dg.AssetGraph, lake: Lake) -> None:
        self._instance = instance
        self._graph = graph
        roots = ObservedRoots(instance, lake)
        here = Versions(instance, graph, roots)
        observed = roots.of(CURATOR_FILES) or {}
        names = [str(name) for name in here.partitions(CURATED) if name in observed]
        self._versions = here.with_partitions(names)
        self._planner = StalePlanner(graph, self._versions, lake, excluded=ASKED_FOR_BY_NAME)
        self._is_held = not roots.has_models or is_brought_up_to_date(instance)
        self._unsettled: dict[dg.AssetKey, set[str | None]] = {}
        self._failed: dict[dg.AssetKey, set[str | None]] = {}

    def decide(
        self, key: dg.AssetKey, busy: Partitions, asked: Mapping[str | None, Request]
    ) -> dict[str | None, Request]:
        """The requests of one asset to remember: those made now are not in `asked`, those without a cause are gone.

        `busy` are the partitions that a run or a backfill has still to make.
        """
        if self._is_held:
            return dict(asked)
        stale = {item.partition: item for item in self._planner.stale(key)}
        unsettled = self._unsettled.setdefault(key, set())
        failed = self._failed.setdefault(key, set())
        kept = {partition: request for partition, request in asked.items() if partition in stale}
        due: list[str | None] = []
        for partition in self._versions.partitions(key):
            if partition in busy or self._is_below_unsettled(key, partition):
                unsettled.add(partition)
            elif self._is_below_failed(key, partition) or (partition in stale and stale[partition].is_blocked):
                failed.add(partition)
            elif partition in stale:
                due.append(partition)
        if not due:
            return kept
        planned = self._planned_ids(key)
        for partition in due:
            last = kept.get(partition)
            request = self._request(key, partition, planned.get(partition, 0), last)
            if request == last:
                failed.add(partition)
            else:
                unsettled.add(partition)
            kept[partition] = request
        return kept

    def _is_below_unsettled(self, key: dg.AssetKey, partition: str | None) -> bool:
        """Whether a parent may still change: what reduces over all partitions waits until the last one is settled."""
        for parent, _ in self._versions.parents(key, partition):
            unsettled = self._unsettled.get(parent, set())
            if unsettled and (self._is_reduced(parent, partition) or partition in unsettled or None in unsettled):
                return True
        return False

    def _is_below_failed(self, key: dg.AssetKey, partition: str | None) -> bool:
        """Whether a parent failed; what reduces over all partitions goes on with those there are, as a run does."""
        for parent, partitions in self._versions.parents(key, partition):
            failed = self._failed.get(parent, set())
            if self._is_reduced(parent, partition):
                if failed and not partitions:
                    return True
            elif failed.intersection(partitions):
                return True
        return False

    def _is_reduced(self, parent: dg.AssetKey, partition: str | None) -> bool:
        return partition is None and self._graph.get(parent).partitions_def is not None

    def _request(self, key: dg.AssetKey, partition: str | None, planned_id: int, last: Request | None) -> Request:
        """The request to remember: a new one for a new cause, one more where the last came to no run, else the last."""
        tags = self._versions.tags(key).get(partition, {})
        cause = _hash(self._versions.upstream(key, partition), self._graph.get(key).code_version)
        made = _hash(tags.get(UPSTREAM_TAG), tags.get(CODE_VERSION_TAG), tags.get(DATA_VERSION_TAG))
        if last is None or cause != last.cause or (made != last.made and FAILED_TAG not in tags):
            return Request(cause, made, planned_id, 1)
        if planned_id == last.planned_id and last.times < MAX_REQUESTS_PER_CAUSE:
            return replace(last, times=last.times + 1)
        return last

    def _planned_ids(self, key: dg.AssetKey) -> Mapping[str | None, int]:
        """Event id of the latest run, by partition, that was going to make it, however it ended."""
        if self._graph.get(key).partitions_def is None:
            info = self._instance.event_log_storage.get_latest_planned_materialization_info(key)
            return {} if info is None else {None: info.storage_id}
        return {
            **self._instance.event_log_storage.get_latest_storage_id_by_partition(
                key, DagsterEventType.ASSET_MATERIALIZATION_PLANNED
            )
        }


def _hash(*parts: str | None) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def is_brought_up_to_date(instance: DagsterInstance) -> bool:
    """Whether a run of the job that materializes everything stale is waiting or under way."""
    return bool(instance.get_runs(dg.RunsFilter(job_name=BRING_UP_TO_DATE, statuses=UNFINISHED), limit=1))
