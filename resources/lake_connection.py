"""How a process gets to a DuckLake: extensions, attaching the catalogue, one connection a process.

In: everything between an address (catalogue, data path) and a cursor on which `schema.table` can be
addressed. Out: the address itself and its write lock (`resources.lake_address`), reading and writing tables
(`resources.lake`), the words of errors (`resources.lake_errors`), what an older lake lacks
(`resources.lake_schema`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from resources.errors import LakeError
from resources.lake_address import LakeAddress, literal, write_lock
from resources.lake_errors import retrying, says_no_lake, says_older_format
from resources.lake_schema import UPGRADE_STEPS, UpgradeStep, check_readable, upgrade
from resources.scratch import scratch_folder, temporary_folder

# DuckDB finds an extension's entry point by its file name; two wheels name the file otherwise.
_EXTENSION_FILE = {"sqlite": "sqlite_scanner", "postgres": "postgres_scanner"}

# WAL: with SQLite's rollback journal a reader that is being consumed makes every commit fail ("database is
# locked"), and four writers took 17 s where they take 2 s. No inlining: a commit of 64 answers of 2 KB took
# 16 ms as a Parquet file and 28 ms as rows in the catalogue, and reading those back was 6 times as slow.
_SQLITE_OPTIONS = "META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT 10000, "
_OPTIONS = "DATA_INLINING_ROW_LIMIT 0"


class NoLakeError(LakeError):
    """Nothing has been stored yet: there is no catalogue at the address."""


def open_lake(
    address: LakeAddress,
    *,
    create: bool,
    read_only: bool = False,
    is_writer: bool = False,
    steps: Sequence[UpgradeStep] = UPGRADE_STEPS,
) -> duckdb.DuckDBPyConnection:
    """A new DuckDB instance with the lake attached; NoLakeError where there is none and `create` is False.

    A writer (as everyone who creates is) brings an older lake up to date; a reader is refused where that has to
    happen first.
    """
    is_writer = is_writer or create
    if create:
        _make_folders(address)
    elif address.catalog_file is not None and not address.catalog_file.exists():
        # DuckDB would leave an empty file behind.
        raise _no_lake()
    spill_folder = scratch_folder("duckdb")
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            # What was read from an object store is worth its memory. Of local files, which the kernel caches, DuckDB
            # held 124 KB a ledger commit of 64 answers, for as long as it ran.
            "enable_external_file_cache": str(address.data_folder is None).lower(),
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
                _attach(connection, address, create=create, read_only=read_only, is_writer=is_writer)
        if is_writer:
            upgrade(connection, address, steps)
        else:
            check_readable(connection, steps)
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
    with temporary_folder("extensions") as folder:
        for name in names:
            spec = importlib.util.find_spec(f"duckdb_extension_{name}")
            package = Path(next(iter(spec.submodule_search_locations or ()))) if spec is not None else None
            files = [] if package is None else sorted(package.glob("extensions/*/*.duckdb_extension"))
            if not files:
                raise LakeError(
                    f"DuckDB's extension {name} is not installed.",
                    f"Install duckdb-extension-{name}=={duckdb.__version__}.",
                )
            link = folder / f"{_EXTENSION_FILE.get(name, name)}.duckdb_extension"
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


def _attach(
    connection: duckdb.DuckDBPyConnection, address: LakeAddress, *, create: bool, read_only: bool, is_writer: bool
) -> None:
    options = f"DATA_PATH {literal(address.data_path)}, {_SQLITE_OPTIONS if address.catalog_file else ''}{_OPTIONS}"
    options += ", READ_ONLY" if read_only else f", CREATE_IF_NOT_EXISTS {create}"
    statement = f"ATTACH {literal(f'ducklake:{address.catalog}')} AS lake ({options}"
    with write_lock(address) if is_writer else contextlib.nullcontext():
        try:
            connection.execute(f"{statement})")
        except duckdb.Error as error:
            if is_writer and says_older_format(error):
                connection.execute(f"{statement}, AUTOMATIC_MIGRATION true)")
            elif _is_moved(address, error):
                connection.execute(f"{statement}, OVERRIDE_DATA_PATH true)")
            else:
                raise
    connection.execute("USE lake")


def _is_moved(address: LakeAddress, error: duckdb.Error) -> bool:
    """Files are stored relative to the data path, so a lake whose folder was moved as a whole still works."""
    stored = re.search(r'existing data path in the catalog "([^"]*)"', str(error))
    if stored is None or address.data_folder is None or Path(stored[1]).exists():
        return False
    return any(address.data_folder.glob("*/*"))


@dataclass
class _Attached:
    connection: duckdb.DuckDBPyConnection
    is_writer: bool


_registry: dict[tuple[int, LakeAddress], _Attached] = {}
_registry_lock = threading.RLock()


@contextlib.contextmanager
def lake_cursor(address: LakeAddress) -> Iterator[duckdb.DuckDBPyConnection]:
    """A cursor of its own (registered tables) on this process's connection to the lake, in one reading transaction.

    The first call of a process attaches the lake (about 0.3 s). A forked child attaches anew: DuckDB does
    not survive a fork. Raises NoLakeError where there is no lake; nothing is written.
    """
    with bare_cursor(address, create=False) as cursor:
        # One transaction reads the catalogue once, for `USE` and for what follows: 9 ms for a query, not 14.
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        cursor.execute("USE lake")
        yield cursor


@contextlib.contextmanager
def bare_cursor(address: LakeAddress, *, create: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    """As `lake_cursor`, but the transaction and `USE lake` are the caller's; makes a lake where it may `create`."""
    with _registry_lock:
        cursor = _attached(address, create=create, is_writer=create).connection.cursor()
    try:
        yield cursor
    except (duckdb.FatalException, duckdb.InternalException):
        # The instance refuses all further work; the next call gets a fresh one.
        disconnect(address)
        raise
    finally:
        # Closing waits for a query that Ctrl-C has ended on this side only.
        cursor.interrupt()
        cursor.close()


def upgrade_lake(address: LakeAddress) -> None:
    """Brings an older lake to today's format and schema version; NoLakeError where there is none."""
    with _registry_lock:
        _attached(address, create=False, is_writer=True)


def _attached(address: LakeAddress, *, create: bool, is_writer: bool) -> _Attached:
    """This process's connection, opened where there is none; a reader's becomes a writer's when one is needed."""
    key = (os.getpid(), address)
    attached = _registry.get(key)
    if attached is None:
        attached = _Attached(open_lake(address, create=create, is_writer=is_writer), is_writer)
        _registry[key] = attached
    elif is_writer and not attached.is_writer:
        try:
            upgrade(attached.connection, address)
        except BaseException:
            disconnect(address)
            raise
        attached.is_writer = True
    return attached


def disconnect(address: LakeAddress) -> None:
    """Closes this process's connection; the next cursor opens it again."""
    with _registry_lock:
        attached = _registry.pop((os.getpid(), address), None)
    if attached is not None:
        attached.connection.close()
