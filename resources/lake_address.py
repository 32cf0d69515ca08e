"""Where a lake is, and whose turn it is to write to it.

In: the address and the lock. Out: connecting (`resources.lake_connection`).
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resources.errors import LakeError


@dataclass(frozen=True)
class LakeAddress:
    """Where a lake is: `sqlite:/path/catalog.sqlite` or `postgres:…`, and the folder or `s3://…` of its rows.

    Raises LakeError for another kind of catalogue. Paths are made absolute.
    """

    catalog: str
    data_path: str

    def __post_init__(self) -> None:
        if not self.catalog.startswith(("sqlite:", "postgres:")):
            raise LakeError(
                f"The lake's catalogue cannot be understood: {self.catalog.split(':')[0]!r}.",
                "LAKE_CATALOG starts with `sqlite:` (and a file's path) or `postgres:` (and a libpq string).",
            )
        # Absolute from here on: the address goes to other processes, and the current folder may change.
        if self.catalog_file is not None:
            object.__setattr__(self, "catalog", f"sqlite:{self.catalog_file.absolute()}")
        if self.data_folder is not None:
            object.__setattr__(self, "data_path", str(self.data_folder.absolute()))

    @property
    def catalog_file(self) -> Path | None:
        """The SQLite file, or None for another kind of catalogue."""
        kind, _, path = self.catalog.partition(":")
        return Path(path) if kind == "sqlite" else None

    @property
    def data_folder(self) -> Path | None:
        """The local folder of the Parquet files, or None for an object store."""
        return None if "://" in self.data_path else Path(self.data_path)

    @property
    def local_folders(self) -> tuple[Path, ...]:
        """The folders on this machine that a writer fills."""
        folders = (self.catalog_file.parent if self.catalog_file else None, self.data_folder)
        return tuple(folder for folder in folders if folder is not None)

    @property
    def extensions(self) -> tuple[str, ...]:
        """The DuckDB extensions this address needs, and no others: each takes about 0.1 s to load."""
        catalog = "postgres" if self.catalog_file is None else "sqlite"
        return ("ducklake", catalog) if self.data_folder is not None else ("ducklake", catalog, "httpfs")


def literal(text: str) -> str:
    """SQL string literal, for the statements that take no parameters (ATTACH, SET)."""
    return "'" + text.replace("'", "''") + "'"


@contextlib.contextmanager
def write_lock(address: LakeAddress) -> Iterator[None]:
    """Lets one writer at a time, of any thread or process, commit to a SQLite catalogue.

    Without it writers abort each other and try again: correct, but a large replacement is starved by a
    neighbour that commits every second. The kernel drops the lock when its holder dies, so none is ever left
    behind. PostgreSQL needs none.
    """
    if address.catalog_file is None:
        yield
        return
    with open(f"{address.catalog_file}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
