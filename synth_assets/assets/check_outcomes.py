"""What the blocking checks last said, file by file: which partitions nothing may be made from.

In: reading outcomes from Dagster's event log, one query for each blocking check. Out: the checks (`checks`), and what
follows from an outcome (`obstacles`, `planning`).

Dagster's own blocking knows no files: one bad file would stop every file below. So a blocking check names the files it
fails for and reports them with severity WARN, which Dagster lets pass; whoever makes or plans a partition asks here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster import DagsterInstance

from synth_assets.assets.history import History, history_of

ROWS_ARE_UNIQUE = "rows_are_unique"
DOCUMENTS_ADD_UP = "documents_in_equal_rows_plus_drops"
ROWS_HAVE_STRUCTURE = "every_row_has_its_structure"
MOST_DOCUMENTS_SURVIVE = "most_documents_survive"
BLOCKING_CHECKS = (ROWS_ARE_UNIQUE, DOCUMENTS_ADD_UP, ROWS_HAVE_STRUCTURE, MOST_DOCUMENTS_SURVIVE)
"""Names of all blocking checks, whatever their asset."""

FAILED_FILES = "failed_files"
"""Metadata entry of a blocking check: a JSON list of the files it fails for. Without it, it fails for all."""

FILES_NAMED = 5
"""Files named in a check's description; its metadata has all of them."""


def result_by_file(files: Sequence[str], violation: str, check_name: str | None = None) -> dg.AssetCheckResult:
    """The result of a blocking check: it stops what rests on the named files and, by its severity, nothing else."""
    named = ", ".join(files[:FILES_NAMED]) + (", …" if len(files) > FILES_NAMED else "")
    return dg.AssetCheckResult(
        check_name=check_name,
        passed=not files,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{violation}: {named or 'none'}",
        metadata={FAILED_FILES: dg.MetadataValue.json(list(files)), "files": len(files)},
    )


@dataclass(frozen=True)
class CheckOutcome:
    """The last completed evaluation of one blocking check; `failed_files` is None where it failed for all."""

    key: dg.AssetCheckKey
    has_passed: bool
    failed_files: frozenset[str] | None
    evaluated_at: float
    """Unix seconds."""

    def fails_for(self, partition: str | None) -> bool:
        """Whether nothing may be made from this partition of the checked asset."""
        return not self.has_passed and (self.failed_files is None or partition in self.failed_files)


class CheckOutcomes:
    """A snapshot of blocking checks; each asset's are read when they are first asked for."""

    def __init__(self, source: DagsterInstance | History, checks: Iterable[dg.AssetCheckKey]) -> None:
        self._history = history_of(source)
        self._checks: dict[dg.AssetKey, list[dg.AssetCheckKey]] = {}
        for key in sorted(checks):
            self._checks.setdefault(key.asset_key, []).append(key)
        self._outcomes: dict[dg.AssetKey, list[CheckOutcome]] = {}

    @classmethod
    def of_graph(cls, source: DagsterInstance | History, graph: dg.AssetGraph) -> CheckOutcomes:
        """All blocking checks of a whole graph."""
        return cls(source, (key for key in graph.asset_check_keys if graph.get(key).blocking))

    @classmethod
    def by_name(cls, source: DagsterInstance | History, assets: Iterable[dg.AssetKey]) -> CheckOutcomes:
        """The blocking checks of some assets within a run, whose graph has no checks of assets that it leaves out."""
        return cls(source, (dg.AssetCheckKey(asset, name) for asset in assets for name in BLOCKING_CHECKS))

    def checked_assets(self) -> list[dg.AssetKey]:
        """Assets that have a blocking check."""
        return list(self._checks)

    def of(self, asset: dg.AssetKey) -> list[CheckOutcome]:
        """What each blocking check of an asset last said; one that was never evaluated is left out."""
        if asset not in self._outcomes:
            found = (self._read(key) for key in self._checks.get(asset, ()))
            self._outcomes[asset] = [outcome for outcome in found if outcome is not None]
        return self._outcomes[asset]

    def failing(self, asset: dg.AssetKey, partition: str | None) -> dg.AssetCheckKey | None:
        """The first blocking check that this partition fails; None where it passes all of them."""
        return next((outcome.key for outcome in self.of(asset) if outcome.fails_for(partition)), None)

    def due(self, assets: Iterable[dg.AssetKey], since: float) -> Iterator[dg.AssetCheckKey]:
        """Checks older than their asset's last materialization, and those that failed before `since` (Unix seconds).

        A run that failed or was killed may have left rows that no check has seen; a table may have been repaired.
        """
        for asset in assets:
            if not self._checks.get(asset):
                continue
            last = self._history.last_materialization(asset)
            if last is None:
                continue
            outcomes = {outcome.key: outcome for outcome in self.of(asset)}
            for key in self._checks[asset]:
                outcome = outcomes.get(key)
                if (
                    outcome is None
                    or outcome.evaluated_at < last.timestamp
                    or (not outcome.has_passed and outcome.evaluated_at < since)
                ):
                    yield key

    def _read(self, key: dg.AssetCheckKey) -> CheckOutcome | None:
        event = self._history.last_evaluation(key)
        evaluation = event.dagster_event.event_specific_data if event and event.dagster_event else None
        if event is None or not isinstance(evaluation, dg.AssetCheckEvaluation):
            return None
        listed = evaluation.metadata.get(FAILED_FILES)
        files = frozenset(listed.value) if isinstance(listed, dg.JsonMetadataValue) else None  # type: ignore[arg-type]
        return CheckOutcome(key, evaluation.passed, files, event.timestamp)
