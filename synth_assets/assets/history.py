"""What is asked of Dagster's event log, and the ways to ask: through an instance, or where nothing was ever run.

In: five questions, each in one or two queries. Out: what follows from the answers (`versions`, `check_outcomes`), and
reading the file without an instance (`sqlite_history`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import dagster as dg
from dagster import AssetRecordsFilter, DagsterEventType, DagsterInstance, EventLogEntry
from dagster._core.storage.asset_check_execution_record import COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES

_STORAGE_IDS_PER_QUERY = 500


class History(Protocol):
    """What happened to the assets. Storage ids grow with time."""

    def dynamic_partitions(self, name: str) -> Sequence[str]:
        """Keys of a dynamic partitions definition, in the order in which they were added."""
        ...

    def latest_event_ids(self, key: dg.AssetKey, kind: DagsterEventType) -> Mapping[str, int]:
        """Storage id, by partition, of the latest event of a kind."""
        ...

    def materializations(self, key: dg.AssetKey, storage_ids: Sequence[int]) -> Sequence[EventLogEntry]:
        """The materializations of an asset with these storage ids."""
        ...

    def last_materialization(self, key: dg.AssetKey) -> EventLogEntry | None:
        """The latest materialization of an asset, whatever its partition."""
        ...

    def last_evaluation(self, check: dg.AssetCheckKey) -> EventLogEntry | None:
        """The event of the last completed execution of a check; None where it never evaluated anything."""
        ...


class InstanceHistory:
    """The history that a Dagster instance keeps, in whatever storage."""

    def __init__(self, instance: DagsterInstance) -> None:
        self._instance = instance

    def dynamic_partitions(self, name: str) -> Sequence[str]:
        """Keys of a dynamic partitions definition, in the order in which they were added."""
        return self._instance.get_dynamic_partitions(name)

    def latest_event_ids(self, key: dg.AssetKey, kind: DagsterEventType) -> Mapping[str, int]:
        """Storage id, by partition, of the latest event of a kind."""
        return self._instance.event_log_storage.get_latest_storage_id_by_partition(key, kind)

    def materializations(self, key: dg.AssetKey, storage_ids: Sequence[int]) -> Sequence[EventLogEntry]:
        """The materializations of an asset with these storage ids."""
        found: list[EventLogEntry] = []
        for start in range(0, len(storage_ids), _STORAGE_IDS_PER_QUERY):
            chunk = storage_ids[start : start + _STORAGE_IDS_PER_QUERY]
            wanted = AssetRecordsFilter(asset_key=key, storage_ids=chunk)
            records = self._instance.fetch_materializations(wanted, limit=len(chunk)).records
            found += [record.event_log_entry for record in records]
        return found

    def last_materialization(self, key: dg.AssetKey) -> EventLogEntry | None:
        """The latest materialization of an asset, whatever its partition."""
        return self._instance.get_latest_materialization_event(key)

    def last_evaluation(self, check: dg.AssetCheckKey) -> EventLogEntry | None:
        """The event of the last completed execution of a check; None where it never evaluated anything."""
        records = self._instance.event_log_storage.get_asset_check_execution_history(
            check, limit=1, status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
        )
        return records[0].event if records else None


class NoHistory:
    """Nothing was ever run. An instance in memory says the same, after 0.5 s of imports."""

    def dynamic_partitions(self, name: str) -> Sequence[str]:
        """None."""
        return ()

    def latest_event_ids(self, key: dg.AssetKey, kind: DagsterEventType) -> Mapping[str, int]:
        """None."""
        return {}

    def materializations(self, key: dg.AssetKey, storage_ids: Sequence[int]) -> Sequence[EventLogEntry]:
        """None."""
        return ()

    def last_materialization(self, key: dg.AssetKey) -> EventLogEntry | None:
        """None."""
        return None

    def last_evaluation(self, check: dg.AssetCheckKey) -> EventLogEntry | None:
        """None."""
        return None


def history_of(source: DagsterInstance | History) -> History:
    """The history itself, or that of an instance."""
    return InstanceHistory(source) if isinstance(source, DagsterInstance) else source
