"""How rows get into a table, inside a transaction that someone else opened.

Names in SQL are checked identifiers and values are parameters. In: what a change is, spooling of streams,
creating and widening tables, DELETE and INSERT. Out: opening, committing and repeating the transaction
(`resources.lake`).
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from resources.errors import LakeError
from resources.lake_address import literal
from resources.lake_errors import explained
from resources.scratch import scratch_folder

Rows = pa.Table | pa.RecordBatchReader
"""`pa.RecordBatchReader.from_batches` makes a stream of any iterator of batches; it is consumed once."""

Where = Mapping[str, str | Sequence[str | None] | None]
"""Column to value, to several values (any of them), or to None (is null); all must hold. Empty: every row."""

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")
_ROW_GROUP_ROWS = 8192
_ROW_GROUP_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Replacement:
    """The rows of `table` that match `where` are replaced by `rows`.

    `where` None deletes nothing (append); an empty one replaces the whole table. `rows` None only deletes.
    Rows have to match `where` themselves (ValueError), or the next replacement would leave them behind.
    """

    table: str
    rows: Rows | None
    where: Where | None


@dataclass(frozen=True)
class Prepared:
    """A change that can be made several times: rows in memory or in a temporary Parquet file, or none."""

    table: str
    where: Where | None
    rows: pa.Table | Path | None
    schema: pa.Schema


def identifier(name: str) -> str:
    """The quoted name; ValueError for one that is not `[a-z_][a-z0-9_]*`."""
    if _IDENTIFIER.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no name of a table or column: use [a-z_][a-z0-9_]*.")
    return f'"{name}"'


def split(table: str) -> tuple[str, str]:
    """`schema.table` as its two names; ValueError for anything else."""
    schema, _, name = table.partition(".")
    for part in (schema, name):
        identifier(part)
    return schema, name


def quoted(table: str) -> str:
    """`schema.table` for SQL."""
    return ".".join(map(identifier, split(table)))


def condition(where: Where) -> tuple[str, list[str | list[str]]]:
    """SQL condition with its parameters. Each form prunes files by their statistics."""
    terms: list[str] = []
    parameters: list[str | list[str]] = []
    for column, value in where.items():
        name = identifier(column)
        if value is None:
            terms.append(f"{name} IS NULL")
        elif isinstance(value, str):
            terms.append(f"{name} = ?")
            parameters.append(value)
        else:
            is_null = f" OR {name} IS NULL" if None in value else ""
            terms.append(f"({name} IN (SELECT unnest(?::VARCHAR[])){is_null})")
            parameters.append([item for item in value if item is not None])
    return " AND ".join(terms) or "true", parameters


@contextlib.contextmanager
def prepared(change: Replacement) -> Iterator[Prepared]:
    """The change in a form that can be repeated; a stream's temporary file is removed at the end."""
    rows = change.rows
    if rows is not None and not isinstance(rows, pa.Table):
        with explained():
            folder = scratch_folder("spool")
        try:
            path = folder / "rows.parquet"
            _spool(rows, path)
            yield Prepared(change.table, change.where, path, rows.schema)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    else:
        yield Prepared(change.table, change.where, rows, pa.schema([]) if rows is None else rows.schema)


def _spool(rows: pa.RecordBatchReader, path: Path) -> None:
    with explained():
        writer = pq.ParquetWriter(path, rows.schema, compression="zstd", compression_level=1)
    # Gathered, because each row group costs an entry in the footer and a read of its own.
    waiting: list[pa.RecordBatch] = []
    waiting_rows = waiting_bytes = 0
    try:
        for batch in rows:
            waiting.append(batch)
            waiting_rows += batch.num_rows
            waiting_bytes += batch.nbytes
            if waiting_rows >= _ROW_GROUP_ROWS or waiting_bytes >= _ROW_GROUP_BYTES:
                with explained():
                    writer.write_table(pa.Table.from_batches(waiting))
                waiting, waiting_rows, waiting_bytes = [], 0, 0
                # Arrow's allocator keeps what was freed: 20 to 50 MB of a large table.
                pa.default_memory_pool().release_unused()
    except BaseException:
        # The file goes with its folder; a full disk must not take the place of what happened.
        with contextlib.suppress(OSError):
            writer.close()
        raise
    with explained():
        writer.write_table(pa.Table.from_batches(waiting, rows.schema))
        writer.close()


def table_types(cursor: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """DuckDB type of each column, in order; empty where there is no such table."""
    try:
        described = cursor.execute(f"DESCRIBE {quoted(table)}").fetchall()
    except duckdb.CatalogException:
        return {}
    return {row[0]: row[1] for row in described}


def apply(cursor: duckdb.DuckDBPyConnection, change: Prepared) -> int:
    """Makes the change in the cursor's transaction, creating the table or adding columns where needed.

    Returns the number of rows that went in.
    """
    existing = table_types(cursor, change.table)
    incoming = _arrow_types(cursor, change.schema)
    source = f"read_parquet({literal(str(change.rows))})" if isinstance(change.rows, Path) else "incoming_rows"
    if isinstance(change.rows, pa.Table):
        cursor.register("incoming_rows", change.rows)
    if change.rows is not None:
        _fit_table(cursor, change.table, existing, incoming)
        _refuse_foreign_rows(cursor, change, source)
    if change.where is not None and existing:
        matches, parameters = condition(change.where)
        cursor.execute(f"DELETE FROM {quoted(change.table)} WHERE {matches}", parameters)  # noqa: S608
    if change.rows is None:
        return 0
    columns = ", ".join(identifier(name) for name, kind in incoming.items() if kind is not None)
    insert = f"INSERT INTO {quoted(change.table)} ({columns}) SELECT {columns} FROM {source}"  # noqa: S608
    inserted = cursor.execute(insert).fetchone()
    return 0 if inserted is None else inserted[0]


def _arrow_types(cursor: duckdb.DuckDBPyConnection, schema: pa.Schema) -> dict[str, str | None]:
    """DuckDB type of each column; None where the Arrow type is null, which says nothing about the column."""
    # A dictionary is how Arrow packs a column, not what is in it; DuckDB would make an ENUM of it.
    typed = pa.schema(
        [
            f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f
            for f in schema
            if not pa.types.is_null(f.type)
        ]
    )
    types: dict[str, str | None] = dict.fromkeys(schema.names)
    if typed.names:
        types |= _described(cursor, typed)
    return types


# What DuckDB makes of a schema: 1 ms to ask, at each commit of answers, and always the same.
_described_schemas: dict[pa.Schema, dict[str, str]] = {}


def _described(cursor: duckdb.DuckDBPyConnection, schema: pa.Schema) -> dict[str, str]:
    types = _described_schemas.get(schema)
    if types is None:
        cursor.register("incoming_schema", pa.Table.from_batches([], schema))
        types = {row[0]: row[1] for row in cursor.execute("DESCRIBE FROM incoming_schema").fetchall()}
        _described_schemas[schema] = types
    return types


def _fit_table(
    cursor: duckdb.DuckDBPyConnection, table: str, existing: dict[str, str], incoming: dict[str, str | None]
) -> None:
    added = []
    for name, kind in incoming.items():
        if name not in existing:
            if kind is None:
                raise LakeError(
                    f"Column {name} of {table} is new and has no type: each value is null.",
                    "Give the column an explicit Arrow type.",
                )
            added.append(f"{identifier(name)} {kind}")
        elif kind not in (existing[name], None):
            raise LakeError(
                f"Column {name} of {table} is {existing[name]}, and the new rows have it as {kind}.",
                "Give the column another name, or drop the table and materialize it again.",
            )
    if not existing:
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {identifier(split(table)[0])}")
        cursor.execute(f"CREATE TABLE {quoted(table)} ({', '.join(added)})")
    else:
        for column in added:
            cursor.execute(f"ALTER TABLE {quoted(table)} ADD COLUMN {column}")


def _refuse_foreign_rows(cursor: duckdb.DuckDBPyConnection, change: Prepared, source: str) -> None:
    if not change.where:
        return
    matches, parameters = condition(change.where)
    statement = f"SELECT count(*) FROM {source} WHERE NOT coalesce({matches}, false)"  # noqa: S608
    row = cursor.execute(statement, parameters).fetchone()
    if row is not None and row[0]:
        raise ValueError(
            f"{row[0]} rows for {change.table} do not match what is replaced ({dict(change.where)}): "
            "the next replacement would leave them behind."
        )
