"""Running exactly what is stale: level by level, planned again after each level so that unchanged output stops there.

In: order, buying ahead, one Dagster run for each asset and contiguous range of partitions. Out: how an asset
materializes (`assets`), and how progress is shown (`cli`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import dagster as dg
from dagster import DagsterInstance
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from resources.errors import SettingError
from resources.generations import start_generation
from synth_assets.assets.check_outcomes import CheckOutcomes
from synth_assets.assets.dead_runs import PROCESS_TAG, end_dead_runs, process_mark
from synth_assets.assets.keys import ASKED_FOR_BY_NAME, COST, ESTIMATES, JUDGE_SCORES, PERPLEXITY, WASTE, table_key
from synth_assets.assets.rephrased import begin_buying, candidate_counts, in_buying_order, request_planner
from synth_assets.assets.reports import HTML_KEY
from synth_assets.assets.roots import observe_roots
from synth_assets.assets.versions import UPSTREAM_TAG, Versions
from synth_assets.core.strategy import Strategy
from synth_assets.core.tables import rephrased
from synth_assets.planning.failures import blocking_texts, failure_of, was_interrupted
from synth_assets.planning.files import FileChanges, file_changes, partitioned_tables, synchronise_partitions
from synth_assets.planning.progress import RunProgress, SilentProgress
from synth_assets.planning.stale import AssetPartition, StalePartition, StalePlanner, check_title
from synth_assets.planning.summary import merged_count
from synth_assets.project import Project

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
SECONDS_BETWEEN_LOOKS = 0.5


@dataclass
class RunSummary:
    """What one `synth run` did."""

    files: FileChanges
    materialized: list[AssetPartition] = field(default_factory=list)
    failed: list[AssetPartition] = field(default_factory=list)
    blocked: list[StalePartition] = field(default_factory=list)
    """Left alone, because something above fails a blocking check."""
    errors: list[str] = field(default_factory=list)
    wall_seconds: float = 0.0
    generation: int | None = None
    """The generation of answers that this run has started."""


BILL = (WASTE, ESTIMATES, COST)
"""In the order in which one rests on the other."""


@dataclass(frozen=True)
class RunSelection:
    """What a run is limited to; empty means everything."""

    strategies: Sequence[str] = ()
    files: Sequence[str] = ()
    excluded_assets: Collection[dg.AssetKey] = ()

    @classmethod
    def of(cls, strategies: Sequence[str], files: Sequence[str]) -> RunSelection:
        """What `synth run` is limited to: what is asked for by name is left out."""
        return cls(strategies, files, ASKED_FOR_BY_NAME)

    def takes(self, item: StalePartition) -> bool:
        """Whether the selection includes this partition of this asset."""
        is_other_strategy = (
            bool(self.strategies) and item.asset.path[0] == "rephrased" and item.asset.path[1] not in self.strategies
        )
        is_other_file = bool(self.files) and item.partition is not None and item.partition not in self.files
        return not is_other_strategy and not is_other_file


class StaleRunner:
    """One run over one project."""

    def __init__(
        self,
        project: Project,
        definitions: dg.Definitions,
        instance: DagsterInstance,
        progress: RunProgress | None = None,
        is_interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._project = project
        self._is_interrupted = is_interrupted
        self._instance = instance
        self._progress = progress or SilentProgress()
        project.purchases.rephrase.on_progress = self._progress.bought
        project.purchases.judge.on_progress = self._progress.bought
        project.purchases.judge.on_planned = self._progress.advance
        project.reference.on_scored = self._progress.advance
        self._graph = definitions.resolve_asset_graph()
        self._job = definitions.resolve_implicit_global_asset_job_def()

    def run(self, selection: RunSelection, is_regenerated: bool = False) -> RunSummary:
        """Bring the selection up to date; failures are collected, everything that does not rest on them is done.

        With `is_regenerated` its answers are asked for anew; a later run that is not goes on with the same generation.
        """
        started, started_at = time.monotonic(), time.time()
        self._project.lake.upgrade()
        end_dead_runs(self._instance)
        self._project.roots.forget()
        changes = file_changes(self._versions())
        check_selection(selection, changes, self._project.strategies)
        summary = RunSummary(changes)
        if is_regenerated:
            names = regenerated_strategies(selection, self._project.strategies)
            summary.generation = start_generation(self._project.lake, names, selection.files)
        synchronise_partitions(self._instance, self._project.lake, changes, partitioned_tables(self._graph))
        observe_roots(self._instance, self._project.roots)
        self._project.curator.save_cache()
        self._project.rephraser.remember()
        self._project.judge.remember()
        bad: set[AssetPartition] = set()
        levels = StalePlanner(self._graph, self._versions(), self._project.lake, selection.excluded_assets).levels()
        for level in levels:
            self._settle_checks(level, started_at, bad, summary)
            self._run_level(level, selection, bad, summary)
        self._bring_the_bill(selection, bad, summary)
        summary.errors += blocking_texts(summary.blocked)
        summary.wall_seconds = time.monotonic() - started
        return summary

    def _versions(self) -> Versions:
        return Versions(self._instance, self._graph, self._project.roots)

    def _run_level(
        self,
        level: Sequence[dg.AssetKey],
        selection: RunSelection,
        bad: set[AssetPartition],
        summary: RunSummary,
    ) -> None:
        versions = self._versions()
        planner = StalePlanner(self._graph, versions, self._project.lake, selection.excluded_assets)
        todo: dict[dg.AssetKey, list[StalePartition]] = {}
        for key in level:
            taken = [item for item in planner.stale(key) if selection.takes(item)]
            summary.blocked += [item for item in taken if item.is_blocked]
            stale = [item for item in taken if not item.is_blocked]
            blocked = {(item.asset, item.partition) for item in stale if self._is_blocked(versions, item, bad)}
            bad |= blocked
            todo[key] = [item for item in stale if (item.asset, item.partition) not in blocked]
        purchases = self._project.purchases
        try:
            self._begin_buying(todo)
            for key in self._in_buying_order(todo):
                for chunk in _ranges(todo[key], versions.partitions(key)):
                    purchases.rephrase_ahead.check()
                    self._materialize(key, chunk, bad, summary)
            # Looked at, not only raised: a step may have left a signal handler of Dagster's behind.
            while purchases.rephrase_ahead.is_under_way(SECONDS_BETWEEN_LOOKS):
                if self._is_interrupted():
                    raise KeyboardInterrupt
            purchases.finish()
        except BaseException:
            purchases.stop()
            raise
        self._progress.end()

    def _bring_the_bill(self, selection: RunSelection, bad: set[AssetPartition], summary: RunSummary) -> None:
        """What was spent is in the bill, also where nothing above it could be made: after a budget, or failures."""
        bought = self._project.purchases.total()
        if not (bought.requests_sent or bought.failures):
            return
        for key in BILL:
            is_done = (key, None) in (*summary.materialized, *summary.failed)
            if not is_done and key not in selection.excluded_assets:
                self._materialize(key, [StalePartition(key, None, "upstream")], bad, summary)
        if HTML_KEY not in selection.excluded_assets:
            self._run_level([HTML_KEY], selection, bad, summary)

    def _in_buying_order(self, keys: Iterable[dg.AssetKey]) -> list[dg.AssetKey]:
        """What is bought first is made first: it is made while the rest is bought."""
        bought = [table_key(rephrased(strategy.name)) for strategy in in_buying_order(self._project.strategies)]
        return sorted(keys, key=lambda key: bought.index(key) if key in bought else -1)

    def _is_blocked(self, versions: Versions, item: StalePartition, bad: Collection[AssetPartition]) -> bool:
        """Whether a parent failed in this pass; what reduces over all partitions goes on with those there are."""
        for parent, partitions in versions.parents(item.asset, item.partition):
            if item.partition is None and self._graph.get(parent).partitions_def is not None:
                has_failed = any(key == parent for key, _ in bad) and not partitions
            else:
                has_failed = any((parent, partition) in bad for partition in partitions)
            if has_failed:
                return True
        return False

    def _settle_checks(
        self, level: Sequence[dg.AssetKey], started_at: float, bad: set[AssetPartition], summary: RunSummary
    ) -> None:
        """Evaluate the blocking checks above this level that have not seen what is in the tables now."""
        above = {parent for key in level for parent in self._graph.get(key).parent_keys}
        due = set(CheckOutcomes.of_graph(self._instance, self._graph).due(sorted(above), started_at))
        if not due:
            return
        job = self._job.get_subset(asset_selection=set(), asset_check_selection=due)
        result = job.execute_in_process(instance=self._instance, run_config=QUIET, raise_on_error=False)
        seen = {evaluation.asset_check_key for evaluation in result.get_asset_check_evaluations()}
        for check in sorted(due - seen):
            summary.errors.append(f"{check_title(check)} could not be evaluated: {failure_of(result)}")
            bad |= {(check.asset_key, partition) for partition in self._versions().partitions(check.asset_key)}

    def _begin_buying(self, todo: dict[dg.AssetKey, list[StalePartition]]) -> None:
        """One stream of requests for everything of this level, so that the pipe drains once and not per partition."""
        files = [
            (strategy, [str(item.partition) for item in todo.get(table_key(rephrased(strategy.name)), [])])
            for strategy in self._project.strategies
        ]
        if not any(names for _, names in files):
            return
        project = self._project
        counts = candidate_counts(project.lake)
        self._progress.begin("rephrasing", sum(counts.get(name, 0) for _, names in files for name in names))
        begin_buying(
            project.purchases.rephrase_ahead,
            project.lake,
            lambda strategy: request_planner(strategy, project.rephraser, project.ledger, project.roots),
            files,
            self._progress.advance,
        )

    def _materialize(
        self, key: dg.AssetKey, chunk: Sequence[StalePartition], bad: set[AssetPartition], summary: RunSummary
    ) -> None:
        partitions = [item.partition for item in chunk]
        self._progress.step(".".join(key.path), len(partitions))
        if key in (PERPLEXITY, JUDGE_SCORES):
            label = "scoring" if key == PERPLEXITY else "judging"
            self._progress.begin(label, merged_count(self._project.lake, [str(name) for name in partitions]))
        tags = {"synth/stale_reason": chunk[0].reason, PROCESS_TAG: process_mark(self._instance)}
        if partitions[0] is not None:
            tags[ASSET_PARTITION_RANGE_START_TAG] = str(partitions[0])
            tags[ASSET_PARTITION_RANGE_END_TAG] = str(partitions[-1])
        job = self._job.get_subset(asset_selection={key})
        result = job.execute_in_process(instance=self._instance, tags=tags, run_config=QUIET, raise_on_error=False)
        made = {
            event.materialization.partition
            for event in result.all_events
            if event.is_step_materialization and UPSTREAM_TAG in (event.materialization.tags or {})
        }
        for partition in partitions:
            if partition in made:
                summary.materialized.append((key, partition))
            else:
                summary.failed.append((key, partition))
                bad.add((key, partition))
        if self._is_interrupted() or was_interrupted(result):
            # Dagster turns Ctrl-C into a failure, of the step or, before there is one, of something else of the run.
            raise KeyboardInterrupt
        if not result.success:
            summary.errors.append(f"{'.'.join(key.path)}: {failure_of(result)}")


def regenerated_strategies(selection: RunSelection, strategies: Sequence[Strategy]) -> list[str]:
    """Names of the strategies whose answers are asked for anew."""
    return list(selection.strategies) or [strategy.name for strategy in strategies]


def check_selection(selection: RunSelection, changes: FileChanges, strategies: Sequence[Strategy]) -> None:
    """Refuse names that do not exist, naming those that do."""
    check_strategies(selection.strategies, strategies)
    here = {*changes.new, *changes.changed, *changes.unchanged}
    if unknown := [name for name in selection.files if name not in here]:
        raise SettingError(
            f"There is no file {unknown[0]!r} in the Curator folder.",
            "Names are relative to CURATOR_OUTPUT_DIR; `synth plan` lists them.",
        )


def check_strategies(wanted: Iterable[str], strategies: Sequence[Strategy]) -> None:
    """Refuse names of strategies that do not exist, naming those that do."""
    names = [strategy.name for strategy in strategies]
    if unknown := [name for name in wanted if name not in names]:
        raise SettingError(f"There is no strategy {unknown[0]!r}.", f"There are {', '.join(names)}.")


def _ranges(items: Iterable[StalePartition], order: Sequence[str | None]) -> Iterator[list[StalePartition]]:
    """Runs of items that lie next to each other in the order of the partitions."""
    position = {partition: index for index, partition in enumerate(order)}
    chunk: list[StalePartition] = []
    for item in items:
        if chunk and position[item.partition] != position[chunk[-1].partition] + 1:
            yield chunk
            chunk = []
        chunk.append(item)
    if chunk:
        yield chunk
