"""The lake: tables in a DuckLake that several processes read and write at once.

In: replacing, appending, scanning and compacting tables given as Arrow. Out: which tables there are and what
they mean, how a connection comes about (`resources.lake_connection`), and how rows get into a transaction
(`resources.lake_write`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from resources.errors import LakeError
from resources.lake_address import LakeAddress, write_lock
from resources.lake_connection import NoLakeError, bare_cursor, disconnect, lake_cursor, upgrade_lake
from resources.lake_errors import NoTableError, explained, retrying
from resources.lake_query import query_read_only
from resources.lake_write import (
    Replacement,
    Rows,
    Where,
    apply,
    condition,
    identifier,
    prepared,
    quoted,
    split,
    table_types,
)

__all__ = ["Lake", "NoLakeError", "Replacement", "Rows", "Where"]

# From how many bytes and below how many a file is merged with its like, once so many of them are there: a row is
# rewritten a few times in its life, and a merge, which holds up every commit, is short: 0.07 s for 64 files of 68 KB,
# 0.14 s for 8 of 4 MB (0.27 s for 16). Larger files are left alone.
_MERGE_TIERS = ((0, 2**20, 16), (2**20, 8 * 2**20, 8))

_BATCH_ROWS = 4096


@dataclass(frozen=True)
class Lake:
    """A DuckLake. Cheap to make, picklable, safe in threads; connects on first use, once for each process.

    `catalog` is `sqlite:/path/catalog.sqlite` or `postgres:…` (a libpq string), `data_path` a folder or
    `s3://…`. Tables are named `schema.table`. Methods raise LakeError for what is outside the code (disk
    full, folder read-only, catalogue of a newer version, two minutes of conflicts) and ValueError for a name
    that is not `[a-z_][a-z0-9_]*`. Only methods that write create anything on disk.
    """

    catalog: str = field(repr=False)
    data_path: str

    def __post_init__(self) -> None:
        # Made absolute here, so that a pickled lake means the same in a process with another current folder.
        object.__setattr__(self, "catalog", self._address.catalog)
        object.__setattr__(self, "data_path", self._address.data_path)

    @property
    def _address(self) -> LakeAddress:
        return LakeAddress(self.catalog, self.data_path)

    def replace(self, changes: Sequence[Replacement]) -> list[int]:
        """All changes in one transaction: readers see every table as it was or as it is to be, never a mix.

        Returns the number of rows stored by each change. Creates schemas and tables with the rows' Arrow
        types and adds new columns; LakeError where a column's type changed. A stream is spooled to a
        temporary file before the transaction starts, so its producer may itself read and write the lake.
        Conflicts with other writers are repeated with back-off.
        """
        with contextlib.ExitStack() as stack:
            repeatable = [stack.enter_context(prepared(change)) for change in changes]
            with explained(self._address.local_folders):
                return self._transaction(lambda cursor: [apply(cursor, change) for change in repeatable])

    def append(self, table: str, rows: Rows) -> None:
        """Adds rows in one transaction."""
        self.replace([Replacement(table, rows, where=None)])

    def delete(self, table: str, where: Where) -> None:
        """Deletes the rows that match; nothing happens where there is no such table."""
        if self.has_table(table):
            self.replace([Replacement(table, rows=None, where=where)])

    def has_table(self, table: str) -> bool:
        """True once rows (also none) have been stored under that name."""
        split(table)
        with explained(self._address.local_folders):
            try:
                with lake_cursor(self._address) as cursor:
                    return bool(table_types(cursor, table))
            except NoLakeError:
                return False

    def scan(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        schema: pa.Schema | None = None,
    ) -> pa.RecordBatchReader:
        """The rows that match, in no promised order, as a stream of one snapshot; other files are not read.

        Writers are not held up while it is consumed, not even those of the same process. With `schema` the
        columns are the schema's, in its types, and a table that does not exist is empty instead of a
        LakeError.
        """
        names = list(columns) if columns is not None else schema.names if schema is not None else None
        matches, parameters = condition(where or {})
        selected = "*" if names is None else ", ".join(map(identifier, names))
        statement = f"SELECT {selected} FROM {quoted(table)} WHERE {matches}"  # noqa: S608
        batches = self._batches(statement, parameters, schema)
        try:
            stream_schema = next(batches)
        except (NoLakeError, NoTableError):
            if schema is None:
                raise LakeError(f"The lake has no table {table} yet.", "Materialize it first.") from None
            return pa.RecordBatchReader.from_batches(schema, iter(()))
        return pa.RecordBatchReader.from_batches(stream_schema, batches)

    def _batches(self, statement: str, parameters: Sequence[Any], schema: pa.Schema | None) -> Iterator[Any]:
        """First the schema, then the batches: the cursor lives as long as its stream does."""
        with explained(self._address.local_folders), lake_cursor(self._address) as cursor:
            reader = cursor.execute(statement, parameters).to_arrow_reader(_BATCH_ROWS)
            yield reader.schema if schema is None else schema
            for batch in reader:
                yield batch if schema is None else batch.cast(schema)

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        schema: pa.Schema | None = None,
    ) -> pa.Table:
        """As `scan`, at once."""
        return self.scan(table, columns, where, schema).read_all()

    def query(
        self, sql: str, parameters: Sequence[Any] = (), arrow_tables: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Rows of the project's own SQL; `arrow_tables` can be joined by name. Not for a user's SQL."""
        with explained(self._address.local_folders), lake_cursor(self._address) as cursor:
            for name, rows in (arrow_tables or {}).items():
                cursor.register(name, rows)
            return cursor.execute(sql, list(parameters)).to_arrow_table()

    def stream(self, sql: str, parameters: Sequence[Any], schema: pa.Schema) -> pa.RecordBatchReader:
        """As `query`, as a stream of one snapshot in the schema's types; nothing of it is held but what is sorted or
        joined.
        """
        batches = self._batches(sql, parameters, schema)
        next(batches)
        return pa.RecordBatchReader.from_batches(schema, batches)

    def query_read_only(self, sql: str) -> pa.Table:
        """Rows of one reading statement of a user; LakeError for mistakes and for any other statement."""
        return query_read_only(self._address, sql)

    def snapshot_id(self) -> int | None:
        """Number of the last commit, or None where there is no lake yet."""
        try:
            return self.query("SELECT id FROM ducklake_current_snapshot('lake')")["id"][0].as_py()
        except NoLakeError:
            return None

    def merge_small_files(self, table: str) -> bool:
        """Merges files of like size where many are there; True if it did. Takes milliseconds where there are few."""
        schema, name = split(table)
        if not self.has_table(table):
            return False
        with explained(self._address.local_folders):
            crowded = self._crowded_tiers(schema, name)
            for least, below in crowded:
                sizes = "min_file_size => ?, max_file_size => ?"
                merge = f"CALL ducklake_merge_adjacent_files('lake', ?, schema => ?, {sizes})"
                self._maintain(merge, [name, schema, least, below])
        return bool(crowded)

    def _crowded_tiers(self, schema: str, name: str) -> list[tuple[int, int]]:
        files = self.query(
            "SELECT data_file_size_bytes AS n FROM ducklake_list_files('lake', ?, schema => ?)", [name, schema]
        )
        sizes = files["n"].to_pylist()
        return [
            (least, below)
            for least, below, enough in _MERGE_TIERS
            if sum(least <= size < below for size in sizes) >= enough
        ]

    def clean_up(self, keep_days: float = 7.0) -> None:
        """Forgets snapshots older than `keep_days` and removes files that nothing uses; nothing happens without a lake.

        A file stays for a day after the last table let go of it, for the sake of readers under way; so does
        what a killed writer left behind, for the sake of writers. Lists every file of the data folder.
        """
        if self.snapshot_id() is None:
            return
        with explained(self._address.local_folders):
            expire = "CALL ducklake_expire_snapshots('lake', older_than => now() - to_seconds(?))"
            self._maintain(expire, [keep_days * 86_400])
            self._maintain("CALL ducklake_cleanup_old_files('lake', older_than => now() - INTERVAL 1 DAY)")
            self._remove_orphans()

    def _remove_orphans(self) -> None:
        orphans = "ducklake_delete_orphaned_files('lake', dry_run => {}, older_than => now() - INTERVAL 1 DAY)"
        found = self.query(f"FROM {orphans.format(True)}")
        # DuckLake would remove any file it does not know; the folder may hold what is not ours.
        if all(path.rpartition("/")[2].startswith("ducklake-") for path in found["path"].to_pylist()):
            self._maintain(f"CALL {orphans.format(False)}")

    def _maintain(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        for attempt in retrying():
            with attempt, bare_cursor(self._address, create=False) as cursor, write_lock(self._address):
                cursor.execute(statement, parameters).fetchall()

    def _transaction(self, work: Callable[[duckdb.DuckDBPyConnection], list[int]]) -> list[int]:
        for attempt in retrying():
            with attempt, bare_cursor(self._address, create=True) as cursor, write_lock(self._address):
                cursor.begin()
                try:
                    cursor.execute("USE lake")
                    row_counts = work(cursor)
                    cursor.commit()
                    return row_counts
                except BaseException:
                    # A commit that failed has already ended its transaction.
                    with contextlib.suppress(duckdb.Error):
                        cursor.rollback()
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def upgrade(self) -> None:
        """Brings an older lake up to date before anything is read; nothing happens where there is no lake yet.

        What writes to the lake does the same by itself, but a process that reads first may be refused.
        """
        with explained(self._address.local_folders), contextlib.suppress(NoLakeError):
            upgrade_lake(self._address)

    def close(self) -> None:
        """Closes this process's connection; the next call opens it again."""
        disconnect(self._address)
