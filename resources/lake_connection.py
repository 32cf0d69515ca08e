"""How a process gets to a DuckLake: extensions, attaching the catalogue, one connection a process.

In: everything between an address (catalogue, data path) and a cursor on which `schema.table` can be
addressed. Out: the address itself and its write lock (`resources.lake_address`), reading and writing tables
(`resources.lake`), the words of errors (`resources.lake_errors`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from resources.errors import LakeError
from resources.lake_address import LakeAddress, literal, write_lock
from resources.lake_errors import is_conflict, says_no_lake

SCHEMA_VERSION = 1
"""Version of the tables' layout, kept in `meta.schema_version`. A lake with a higher one is not opened."""

# DuckDB finds an extension's entry point by its file name; two wheels name the file otherwise.
_EXTENSION_FILE = {"sqlite": "sqlite_scanner", "postgres": "postgres_scanner"}

# WAL: with SQLite's rollback journal a reader that is being consumed makes every commit fail ("database is
# locked"), and four writers took 17 s where they take 2 s. No inlining: a commit of 64 answers of 2 KB took
# 16 ms as a Parquet file and 28 ms as rows in the catalogue, and reading those back was 6 times as slow.
_SQLITE_OPTIONS = "META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT 10000, "
_OPTIONS = "DATA_INLINING_ROW_LIMIT 0"

# With DuckDB's default of 122,880 rows of 1 KB a stream takes 1.1 GB of memory to store, with this 0.4 GB; and a
# look-up of neighbouring answers reads less text.
_ROW_GROUP_ROWS = 8192

_RETRY_SECONDS = 120


class NoLakeError(LakeError):
    """Nothing has been stored yet: there is no catalogue at the address."""


def retrying() -> Retrying:
    """Tries again, for up to two minutes, what failed only because another writer was faster."""
    return Retrying(
        retry=retry_if_exception(is_conflict),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        stop=stop_after_delay(_RETRY_SECONDS),
        reraise=True,
    )


def open_lake(address: LakeAddress, *, create: bool, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """A new DuckDB instance with the lake attached; NoLakeError where there is none and `create` is False."""
    if create:
        _make_folders(address)
    elif address.catalog_file is not None and not address.catalog_file.exists():
        # DuckDB would leave an empty file behind.
        raise _no_lake()
    spill_folder = Path(tempfile.gettempdir()) / f"synth-duckdb-{os.getpid()}"
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "temp_directory": str(spill_folder),
        }
    )
    try:
        _load_extensions(connection, address.extensions)
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        if address.data_folder is None:
            _configure_object_store(connection)
        for attempt in retrying():
            with attempt:
                _attach(connection, address, create=create, read_only=read_only)
        _check_schema_version(connection)
    except BaseException as error:
        connection.close()
        if says_no_lake(error):
            raise _no_lake() from None
        raise
    return connection


def _no_lake() -> NoLakeError:
    return NoLakeError("There is no lake yet.", "Materialize something first.")


def _make_folders(address: LakeAddress) -> None:
    if address.catalog_file is not None:
        address.catalog_file.parent.mkdir(parents=True, exist_ok=True)
    if address.data_folder is not None:
        address.data_folder.mkdir(parents=True, exist_ok=True)


def _load_extensions(connection: duckdb.DuckDBPyConnection, names: tuple[str, ...]) -> None:
    # A private folder of links instead of INSTALL: processes that start together share no extension
    # directory.
    with tempfile.TemporaryDirectory(prefix="synth-extensions-") as folder:
        for name in names:
            spec = importlib.util.find_spec(f"duckdb_extension_{name}")
            package = Path(next(iter(spec.submodule_search_locations or ()))) if spec is not None else None
            files = [] if package is None else sorted(package.glob("extensions/*/*.duckdb_extension"))
            if not files:
                raise LakeError(
                    f"DuckDB's extension {name} is not installed.",
                    f"Install duckdb-extension-{name}=={duckdb.__version__}.",
                )
            link = Path(folder) / f"{_EXTENSION_FILE.get(name, name)}.duckdb_extension"
            link.symlink_to(files[0])
            connection.execute(f"LOAD {literal(str(link))}")


def _configure_object_store(connection: duckdb.DuckDBPyConnection) -> None:
    # The variables that every S3 client reads; DuckDB's own reading of them leaves out the endpoint.
    options = {
        "KEY_ID": os.environ.get("AWS_ACCESS_KEY_ID"),
        "SECRET": os.environ.get("AWS_SECRET_ACCESS_KEY"),
        "SESSION_TOKEN": os.environ.get("AWS_SESSION_TOKEN"),
        "REGION": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
    }
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        scheme, _, host = endpoint.rstrip("/").rpartition("://")
        options |= {"ENDPOINT": host, "USE_SSL": "false" if scheme == "http" else "true", "URL_STYLE": "path"}
    chosen = "".join(f", {name} {literal(value)}" for name, value in options.items() if value)
    connection.execute(f"CREATE SECRET lake_store (TYPE s3{chosen})")


def _attach(connection: duckdb.DuckDBPyConnection, address: LakeAddress, *, create: bool, read_only: bool) -> None:
    options = f"DATA_PATH {literal(address.data_path)}, {_SQLITE_OPTIONS if address.catalog_file else ''}{_OPTIONS}"
    options += ", READ_ONLY" if read_only else f", CREATE_IF_NOT_EXISTS {create}"
    statement = f"ATTACH {literal(f'ducklake:{address.catalog}')} AS lake ({options}"
    with write_lock(address) if create else contextlib.nullcontext():
        try:
            connection.execute(f"{statement})")
        except duckdb.Error as error:
            stored = re.search(r'existing data path in the catalog "([^"]*)"', str(error))
            # Files are stored relative to the data path, so a lake whose folder was moved as a whole still
            # works.
            is_moved = stored is not None and address.data_folder is not None and not Path(stored[1]).exists()
            if not is_moved or not address.data_folder or not any(address.data_folder.glob("*/*")):
                raise
            connection.execute(f"{statement}, OVERRIDE_DATA_PATH true)")
    connection.execute("USE lake")


def _check_schema_version(connection: duckdb.DuckDBPyConnection) -> None:
    if not _has_schema_version(connection):
        return
    row = connection.execute("SELECT max(version) FROM meta.schema_version").fetchone()
    version = row[0] if row is not None else None
    if version is not None and version > SCHEMA_VERSION:
        raise LakeError(
            f"The lake has schema version {version}; this installation knows up to {SCHEMA_VERSION}.",
            "Update this project, or choose another lake with LAKE_CATALOG and LAKE_DATA_PATH.",
        )


def _has_schema_version(connection: duckdb.DuckDBPyConnection) -> bool:
    statement = (
        "SELECT 1 FROM duckdb_tables() WHERE database_name = 'lake' AND schema_name = 'meta' "
        "AND table_name = 'schema_version'"
    )
    return connection.execute(statement).fetchone() is not None


def _write_schema_version(connection: duckdb.DuckDBPyConnection, address: LakeAddress) -> None:
    for attempt in retrying():
        with attempt, write_lock(address), connection.cursor() as cursor:
            cursor.execute("USE lake")
            cursor.execute("BEGIN")
            if _has_schema_version(cursor):
                cursor.execute("ROLLBACK")
                return
            cursor.execute("CREATE SCHEMA IF NOT EXISTS meta")
            cursor.execute("CREATE TABLE meta.schema_version (version INTEGER)")
            cursor.execute("INSERT INTO meta.schema_version VALUES (?)", [SCHEMA_VERSION])
            cursor.execute("COMMIT")
            cursor.execute(f"CALL lake.set_option('parquet_row_group_size', {_ROW_GROUP_ROWS})")


@dataclass
class _Attached:
    connection: duckdb.DuckDBPyConnection
    is_prepared_for_writing: bool = False


_registry: dict[tuple[int, LakeAddress], _Attached] = {}
_registry_lock = threading.RLock()


@contextlib.contextmanager
def lake_cursor(address: LakeAddress, *, create: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    """A cursor of its own (transaction, registered tables) on this process's connection to the lake.

    The first call of a process attaches the lake (about 0.3 s). A forked child attaches anew: DuckDB does
    not survive a fork. Raises NoLakeError where there is no lake and `create` is False; nothing is written
    then.
    """
    key = (os.getpid(), address)
    with _registry_lock:
        if key not in _registry:
            _registry[key] = _Attached(open_lake(address, create=create))
        attached = _registry[key]
        if create and not attached.is_prepared_for_writing:
            _write_schema_version(attached.connection, address)
            attached.is_prepared_for_writing = True
        cursor = attached.connection.cursor()
    try:
        cursor.execute("USE lake")
        yield cursor
    except (duckdb.FatalException, duckdb.InternalException):
        # The instance refuses all further work; the next call gets a fresh one.
        disconnect(address)
        raise
    finally:
        cursor.close()


def disconnect(address: LakeAddress) -> None:
    """Closes this process's connection; the next cursor opens it again."""
    with _registry_lock:
        attached = _registry.pop((os.getpid(), address), None)
    if attached is not None:
        attached.connection.close()
