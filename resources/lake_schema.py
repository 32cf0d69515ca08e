"""The version of the tables' layout, and how a lake of an older one becomes one of today's.

In: the steps from each version to the next, what an older or newer lake means to a reader and to a writer. Out:
columns that a table gains when rows with them are stored (`resources.lake_write`), and DuckLake's own format, which
DuckLake migrates while it is attached (`resources.lake_connection`).

To change the layout, append a step. Its statements must do nothing where a table does not exist yet: a lake without a
version, new or made by hand, counts as the oldest and takes every step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from resources.errors import LakeError
from resources.lake_address import LakeAddress, write_lock
from resources.lake_errors import UPGRADE_REMEDY, explain, is_conflict, retrying

OLDEST_VERSION = 1

# With DuckDB's default of 122,880 rows of 1 KB a stream takes 1.1 GB of memory to store, with this 0.4 GB; and a
# look-up of neighbouring answers reads less text.
_ROW_GROUP_ROWS = 8192


@dataclass(frozen=True)
class UpgradeStep:
    """SQL that leads from one version to the next; all steps that a lake needs are one transaction.

    `blocks_readers_if` is a query for one boolean: whether this installation cannot even read the lake before.
    """

    statements: tuple[str, ...]
    blocks_readers_if: str = "SELECT false"


def _lacks(schema: str, table: str, column: str) -> str:
    """Query: whether the table exists without that column."""
    return (
        f"SELECT count(*) > 0 AND count(*) FILTER (column_name = '{column}') = 0 FROM duckdb_columns() "  # noqa: S608
        f"WHERE database_name = 'lake' AND schema_name = '{schema}' AND table_name = '{table}'"
    )


UPGRADE_STEPS: tuple[UpgradeStep, ...] = (
    # To 2: the first lakes kept no estimates beside the answers and wrote larger row groups; and earlier installations
    # do not know `ledger.generations`, so they must not open a lake that may have it.
    UpgradeStep(
        (
            "ALTER TABLE IF EXISTS ledger.completions ADD COLUMN IF NOT EXISTS estimated_prompt_tokens BIGINT",
            "ALTER TABLE IF EXISTS ledger.completions ADD COLUMN IF NOT EXISTS estimated_completion_tokens BIGINT",
            f"CALL lake.set_option('parquet_row_group_size', {_ROW_GROUP_ROWS})",
        ),
        _lacks("ledger", "completions", "estimated_prompt_tokens"),
    ),
    # To 3: the seed did not say what had counted a document's tokens, so each strategy counted them again.
    UpgradeStep(
        ("ALTER TABLE IF EXISTS seed.curated_documents ADD COLUMN IF NOT EXISTS tokenizer_fingerprint VARCHAR",),
        _lacks("seed", "curated_documents", "tokenizer_fingerprint"),
    ),
)

SCHEMA_VERSION = OLDEST_VERSION + len(UPGRADE_STEPS)
"""Version of the tables' layout, kept in `meta.schema_version`. A lake with a higher one is not opened."""


def check_readable(connection: duckdb.DuckDBPyConnection, steps: Sequence[UpgradeStep] = UPGRADE_STEPS) -> None:
    """LakeError where the lake is newer, or too old to be read without an upgrade. Writes nothing."""
    version = _stored_version(connection)
    _refuse_newer(version, OLDEST_VERSION + len(steps))
    for step in steps[(version or OLDEST_VERSION) - OLDEST_VERSION :]:
        if _is_true(connection, step.blocks_readers_if):
            raise LakeError(
                f"The lake has schema version {version or OLDEST_VERSION} and has to be upgraded before it is read.",
                UPGRADE_REMEDY,
            )


def upgrade(
    connection: duckdb.DuckDBPyConnection, address: LakeAddress, steps: Sequence[UpgradeStep] = UPGRADE_STEPS
) -> None:
    """Take every step that the lake needs in one transaction: however it ends, the lake is of its old version or of
    the newest. One of several writers upgrades, the others find it done. LakeError where the lake is newer or a step
    fails; nothing is changed then.
    """
    newest = OLDEST_VERSION + len(steps)
    for attempt in retrying():
        with attempt, write_lock(address), connection.cursor() as cursor:
            cursor.execute("USE lake")
            cursor.begin()
            try:
                version = _stored_version(cursor)
                _refuse_newer(version, newest)
                if version != newest:
                    _take_steps(cursor, version, steps)
                cursor.commit()
            except BaseException:
                # A commit that failed has already ended its transaction.
                with contextlib.suppress(duckdb.Error):
                    cursor.rollback()
                raise


def _take_steps(cursor: duckdb.DuckDBPyConnection, version: int | None, steps: Sequence[UpgradeStep]) -> None:
    newest = OLDEST_VERSION + len(steps)
    if version is None:
        cursor.execute("CREATE SCHEMA IF NOT EXISTS meta")
        cursor.execute("CREATE TABLE IF NOT EXISTS meta.schema_version (version INTEGER)")
        cursor.execute("INSERT INTO meta.schema_version VALUES (?)", [OLDEST_VERSION])
    for reached, step in enumerate(steps[(version or OLDEST_VERSION) - OLDEST_VERSION :], version or OLDEST_VERSION):
        try:
            for statement in step.statements:
                cursor.execute(statement)
        except duckdb.Error as error:
            if is_conflict(error):
                raise
            cause = explain(error)
            raise LakeError(
                f"The upgrade of the lake from schema version {reached} to {reached + 1} failed, and nothing was "
                f"changed. {cause.fact}",
                cause.remedy or "Use the release of this project that wrote the lake, and report this message.",
            ) from None
    # Changed in place, not added to: of two transactions that both do this, the second fails and looks again.
    cursor.execute("UPDATE meta.schema_version SET version = ?", [newest])


def _refuse_newer(version: int | None, newest: int) -> None:
    if version is not None and version > newest:
        raise LakeError(
            f"The lake has schema version {version}; this installation knows up to {newest}.",
            "Update this project, or choose another lake with LAKE_CATALOG and LAKE_DATA_PATH.",
        )


def _stored_version(connection: duckdb.DuckDBPyConnection) -> int | None:
    """None where the lake has no version."""
    has_table = (
        "SELECT count(*) > 0 FROM duckdb_tables() WHERE database_name = 'lake' AND schema_name = 'meta' "
        "AND table_name = 'schema_version'"
    )
    if not _is_true(connection, has_table):
        return None
    row = connection.execute("SELECT max(version) FROM meta.schema_version").fetchone()
    return row[0] if row is not None else None


def _is_true(connection: duckdb.DuckDBPyConnection, query: str) -> bool:
    row = connection.execute(query).fetchone()
    return row is not None and bool(row[0])
