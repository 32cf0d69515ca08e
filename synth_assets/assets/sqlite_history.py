"""Dagster's event log, read straight from the SQLite file of its default storage: for commands that only look.

In: SELECTs over the tables that `History` asks about. Out: writing, which only Dagster does, and every other storage
(`InstanceHistory`). Dagster's own way in (SQLAlchemy, Alembic, its daemon's modules) takes as long as `import dagster`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import dagster as dg
import yaml
from dagster import DagsterEventType, EventLogEntry
from dagster._core.storage.asset_check_execution_record import COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
from dagster._serdes import deserialize_value

KNOWN_REVISION = "29b539ebc72a"
"""Alembic's revision of the tables that are read here; with any other, nothing is assumed of them."""
_OTHER_STORAGE = {"storage", "run_storage", "event_log_storage", "schedule_storage", "instance_class"}
"""Entries of dagster.yaml with which the events may be somewhere else."""
_BUSY_SECONDS = 30.0


def open_sqlite_history(dagster_home: Path) -> SqliteHistory | None:
    """The history in the default place; None where the storage is another one, or of another revision."""
    file = dagster_home / "history" / "runs" / "index.db"
    configuration = dagster_home / "dagster.yaml"
    try:
        entries = yaml.safe_load(configuration.read_text()) or {}
        if not isinstance(entries, dict) or _OTHER_STORAGE & entries.keys() or not file.is_file():
            return None
        # Not as read-only: a reader of a write-ahead log has to make its index where the last writer took it away.
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS)
        revisions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except (OSError, yaml.YAMLError, sqlite3.Error):
        # Whatever is wrong, Dagster's own opening says it better.
        return None
    return SqliteHistory(connection) if revisions == [(KNOWN_REVISION,)] else None


class SqliteHistory:
    """A history over an open connection to Dagster's index of asset events."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def dynamic_partitions(self, name: str) -> Sequence[str]:
        """Keys of a dynamic partitions definition, in the order in which they were added."""
        statement = "SELECT partition FROM dynamic_partitions WHERE partitions_def_name = ? ORDER BY id"
        return [partition for (partition,) in self._connection.execute(statement, [name])]

    def latest_event_ids(self, key: dg.AssetKey, kind: DagsterEventType) -> Mapping[str, int]:
        """Storage id, by partition, of the latest event of a kind."""
        # Events of a wiped asset are deleted here, so that no wipe time has to be looked at.
        statement = (
            "SELECT partition, max(id) FROM event_logs "
            "WHERE asset_key = ? AND dagster_event_type = ? AND partition IS NOT NULL GROUP BY partition"
        )
        return dict(self._connection.execute(statement, [key.to_string(), kind.value]).fetchall())

    def materializations(self, key: dg.AssetKey, storage_ids: Sequence[int]) -> Sequence[EventLogEntry]:
        """The materializations of an asset with these storage ids."""
        statement = (
            "SELECT event FROM event_logs WHERE asset_key = ? AND id IN (SELECT value FROM json_each(?)) ORDER BY id"
        )
        return list(self._events(statement, [key.to_string(), json.dumps(list(storage_ids))]))

    def last_materialization(self, key: dg.AssetKey) -> EventLogEntry | None:
        """The latest materialization of an asset, whatever its partition."""
        statement = (
            "SELECT event FROM event_logs WHERE asset_key = ? AND dagster_event_type = ? ORDER BY id DESC LIMIT 1"
        )
        kind = DagsterEventType.ASSET_MATERIALIZATION.value
        return next(self._events(statement, [key.to_string(), kind]), None)

    def last_evaluation(self, check: dg.AssetCheckKey) -> EventLogEntry | None:
        """The event of the last completed execution of a check; None where it never evaluated anything."""
        completed = [status.value for status in COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES]
        statement = (
            "SELECT evaluation_event FROM asset_check_executions WHERE asset_key = ? AND check_name = ? "  # noqa: S608
            f"AND execution_status IN ({', '.join('?' * len(completed))}) ORDER BY id DESC LIMIT 1"
        )
        return next(self._events(statement, [check.asset_key.to_string(), check.name, *completed]), None)

    def _events(self, statement: str, parameters: Sequence[str | int]) -> Iterator[EventLogEntry]:
        for (event,) in self._connection.execute(statement, parameters):
            if event:
                yield deserialize_value(event, EventLogEntry)
