"""What DuckDB, DuckLake and the operating system say when the lake cannot be used, in words that help.

In: which errors pass by themselves and are tried again, and the translation of all others into LakeError. Out:
everything that talks to DuckDB.
"""

from __future__ import annotations

import contextlib
import errno
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from resources.errors import LakeError
from resources.storage_errors import FULL, UNWRITABLE, fullest

# What a commit says when another writer was faster. SQLite: "database is locked" (also for a snapshot that
# became too old while the transaction ran). DuckLake: "Transaction conflict", and its own retries used up.
# PostgreSQL: serialization failures, and two processes that create the catalogue's tables in the same
# moment.
_CONFLICT = re.compile(
    r"database is locked|transaction conflict|conflict on (update|tuple)|maximum retry count"
    r"|could not serialize access|deadlock detected|duplicate key value|tuple concurrently updated"
    r"|relation \S+ already exists",
    re.IGNORECASE,
)
_RETRY_SECONDS = 120

_FORMAT_MISMATCH = re.compile(r"catalog version is (\S+), but the extension requires version (\S+?)\.?(?:\s|$)")

UPGRADE_REMEDY = "Run `synth upgrade`: it keeps every row. Earlier releases cannot open the lake afterwards."

_NO_TABLE = re.compile(r"Table with name \S+ does not exist")

_PASSWORD = re.compile(r"(password\s*=\s*)('[^']*'|\S+)|(://[^:/@\s]*:)[^@\s]*(?=@)", re.IGNORECASE)

_REMEDIES: tuple[tuple[str, str, str], ...] = (
    (
        FULL,
        "The disk that holds the lake or its temporary files is full or fails.",
        "Free space and run again: everything committed so far is kept.",
    ),
    (
        UNWRITABLE,
        "The lake's folder cannot be written.",
        "Make the folder writable, or choose another one with LAKE_CATALOG and LAKE_DATA_PATH.",
    ),
    (
        r"unable to open database|not a directory|failed to create directory|file exists|is a directory",
        "A file or folder of the lake cannot be opened or created.",
        "Check that LAKE_CATALOG names a file in a folder you can write and LAKE_DATA_PATH a folder.",
    ),
    (
        r"file is not a database|database disk image is malformed",
        "The lake's catalogue file is not a SQLite database, or it is damaged.",
        "Point LAKE_CATALOG at the right file, or restore it from a backup.",
    ),
    (
        r"failed to migrate ducklake",
        "The lake's catalogue could not be brought to today's DuckLake format.",
        "Put a backup of the catalogue in its place, or use the release of this project that wrote it.",
    ),
    (
        r"does not match existing data path",
        "The lake's catalogue belongs to another data folder.",
        "Set LAKE_DATA_PATH to the folder that the catalogue names.",
    ),
    (
        r"unable to connect to postgres|connection to server|server closed the connection",
        "The lake's PostgreSQL catalogue cannot be reached.",
        "Start the database server, or correct LAKE_CATALOG.",
    ),
    (
        r"could not (establish connection|connect to server)|http (get|put|head|post) error|unable to connect to url",
        "The object store of the lake cannot be reached.",
        "Check LAKE_DATA_PATH and the AWS_… variables (AWS_ENDPOINT_URL, keys and region).",
    ),
)


class NoTableError(LakeError):
    """Nothing has been stored under that name yet."""


def is_conflict(error: BaseException) -> bool:
    """True where the same transaction can succeed when it is repeated: another writer was in its way."""
    return isinstance(error, duckdb.Error) and _CONFLICT.search(str(error)) is not None


def retrying() -> Retrying:
    """Tries again, for up to two minutes, what failed only because another writer was faster."""
    return Retrying(
        retry=retry_if_exception(is_conflict),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        stop=stop_after_delay(_RETRY_SECONDS),
        reraise=True,
    )


def says_no_lake(error: BaseException) -> bool:
    """True where the catalogue can be reached but holds no lake yet."""
    return "creating a new DuckLake is explicitly disabled" in str(error)


def says_older_format(error: BaseException) -> bool:
    """True where an older DuckLake wrote the catalogue, which this one can bring to its own format."""
    version = _FORMAT_MISMATCH.search(str(error))
    if version is None:
        return False
    stored, known = ([int(number) for number in re.findall(r"\d+", text)[:2]] for text in version.groups())
    return bool(stored) and stored < known


def explain(error: Exception, folders: Sequence[Path] = ()) -> LakeError:
    """The error as fact and remedy; DuckDB's own message is part of the fact. Passwords are blanked."""
    message = _PASSWORD.sub(lambda match: f"{match[1] or match[3]}***", str(error)).strip()
    version = _FORMAT_MISMATCH.search(message)
    if version is not None:
        return LakeError(
            f"The lake's catalogue has DuckLake format {version[1]}; this installation reads {version[2]}.",
            UPGRADE_REMEDY
            if says_older_format(error)
            else "Use the release of this project that wrote it, or a newer one.",
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        message = f"No space left on device: {message}"
    if is_conflict(error):
        return LakeError(
            f"Other writers kept getting in the way of a transaction. ({message})",
            "Nothing of it was stored. Run again when fewer processes write to the lake.",
        )
    for pattern, fact, remedy in _REMEDIES:
        if re.search(pattern, message, re.IGNORECASE):
            where = f" {fullest([*folders, Path(tempfile.gettempdir())])}." if pattern == FULL else ""
            return LakeError(f"{fact}{where} ({message})", remedy)
    refused = f"The lake refused an operation: {message}"
    return NoTableError(refused) if _NO_TABLE.search(message) else LakeError(refused)


@contextlib.contextmanager
def explained(folders: Sequence[Path] = ()) -> Iterator[None]:
    """Turns errors of DuckDB and of the file system into LakeError, without DuckDB's trace.

    Where a disk is full, the message names which of these folders (and the one of temporary files) is on it.
    """
    try:
        yield
    except (duckdb.Error, OSError) as error:
        raise explain(error, folders) from None
    except RuntimeError as error:
        # DuckDB looks for signals within a query, and wraps what their handler raises: Ctrl-C is no failed query.
        if error.__cause__ is None or isinstance(error.__cause__, Exception):
            raise
        raise error.__cause__ from None
