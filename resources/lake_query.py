"""SQL of a user over the lake: reading only.

In: deciding what is a reading statement, and running it where nothing else can be reached. Out: the
project's own SQL (`resources.lake`), and how results are shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa

from resources.errors import LakeError
from resources.lake_address import LakeAddress, literal
from resources.lake_connection import open_lake
from resources.lake_errors import explained

# Table functions that cannot write and cannot open files. DuckDB's own guards do not cover DuckLake's
# maintenance functions (`ducklake_cleanup_old_files` runs on a read-only lake) nor `sqlite_scan`, so what is
# not named is refused.
_TABLE_FUNCTIONS = frozenset(
    {
        "current_snapshot",
        "duckdb_columns",
        "duckdb_functions",
        "duckdb_schemas",
        "duckdb_tables",
        "duckdb_views",
        "ducklake_current_snapshot",
        "ducklake_snapshots",
        "ducklake_table_changes",
        "ducklake_table_deletions",
        "ducklake_table_info",
        "ducklake_table_insertions",
        "generate_series",
        "json_each",
        "json_tree",
        "range",
        "snapshots",
        "table_changes",
        "table_deletions",
        "table_info",
        "table_insertions",
        "unnest",
    }
)


def query_read_only(address: LakeAddress, sql: str) -> pa.Table:
    """The rows of one reading statement (SELECT, FROM, WITH, VALUES, DESCRIBE, SHOW, SUMMARIZE).

    It runs on a DuckDB instance of its own with the lake attached read-only and no file outside the lake's
    data within reach. Raises LakeError with DuckDB's own message for a mistake in the SQL, and for whatever
    is not a reading statement; NoLakeError where there is no lake yet.
    """
    with explained():
        connection = open_lake(address, create=False, read_only=True)
    try:
        data_path = address.data_path.rstrip("/") + "/"
        connection.execute(f"SET allowed_directories = [{literal(data_path)}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        _refuse_other_than_reading(connection, sql)
        return connection.execute(sql).to_arrow_table()
    except duckdb.Error as error:
        raise LakeError(str(error), "Table names have the form schema.table.") from None
    finally:
        connection.close()


def _refuse_other_than_reading(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise LakeError(f"One statement is expected, and {len(statements)} were given.", "Give them one at a time.")
    row = connection.execute("SELECT json_serialize_sql(?)", [statements[0].query]).fetchone()
    tree = json.loads(row[0]) if row is not None else {}
    if tree.get("error"):
        raise LakeError(
            "Only statements that read are accepted: SELECT, FROM, WITH, VALUES, DESCRIBE, SHOW, SUMMARIZE.",
            "Tables are written by materializing assets.",
        )
    for function in _table_functions(tree):
        if function not in _TABLE_FUNCTIONS:
            raise LakeError(
                f"The table function {function} is not accepted here.",
                "A query reads the lake's tables only.",
            )


def _table_functions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("type") == "TABLE_FUNCTION":
            yield node["function"]["function_name"].lower()
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _table_functions(child)
