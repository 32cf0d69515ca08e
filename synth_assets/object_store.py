"""Curator outputs in an object store: s3://, gs:// or abfs://, each with its own usual credentials.

In: connecting, listing, opening objects, and the words of a store's errors. Out: reading (`core.documents`), versions
(`curator_folder`). Keys are read from the environment where the connection is made and are stored nowhere.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from synth_assets.core.curator_files import (
    CuratorFile,
    CuratorFolderError,
    is_curator_name,
    is_left_out,
    partition_key,
)

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem

OBJECT_STORE_SCHEMES = ("s3", "gs", "abfs", "abfss")

_READ_AHEAD_BYTES = 4 * 2**20
"""One range request each; at 50 ms a request that is 80 MB/s, ahead of what parsing takes."""


class ObjectStore:
    """The objects under one address; connects when it is first looked at."""

    has_whole_files_only = True

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    def __str__(self) -> str:
        return self.address

    def location(self, curator_file: str) -> str:
        """Where an object is, for people."""
        return f"{self.address}/{curator_file}"

    def find(self, curator_file: str) -> CuratorFile | None:
        """One object as it is now; None when it is gone. Raises CuratorFolderError when the store cannot be asked."""
        filesystem, prefix = self._connection
        try:
            info = filesystem.get_file_info(f"{prefix}/{curator_file}")
        except OSError as error:
            raise self._error(error) from error
        return self._file(info, curator_file) if info.is_file else None

    def files(self) -> dict[str, CuratorFile]:
        """Curator outputs by their name relative to the address, sorted; the same names are skipped as in a folder.

        Raises CuratorFolderError when the store cannot be listed, when nothing at all lies under the address, or
        when the name of an object cannot be a partition key.
        """
        from pyarrow.fs import FileSelector

        filesystem, prefix = self._connection
        try:
            infos = filesystem.get_file_info(FileSelector(prefix, recursive=True))
        except OSError as error:
            raise self._error(error) from error
        found: dict[str, CuratorFile] = {}
        for info in infos:
            name = info.path[len(prefix) + 1 :]
            *folders, last = name.split("/")
            if info.is_file and is_curator_name(last) and not any(map(is_left_out, folders)):
                found[partition_key(name)] = self._file(info, name)
        return dict(sorted(found.items()))

    @functools.cached_property
    def _connection(self) -> tuple[FileSystem, str]:
        try:
            return _connect(self.address)
        except (OSError, ValueError) as error:
            raise self._error(error) from error

    def _file(self, info: FileInfo, name: str) -> CuratorFile:
        # Whole seconds: some stores list milliseconds and answer a look at one object with seconds.
        modified_ns = (info.mtime_ns or 0) // 10**9 * 10**9
        source = StoredObject(self._connection[0], info.path, self.location(name))
        return CuratorFile(source, info.size or 0, modified_ns)

    def _error(self, error: Exception) -> CuratorFolderError:
        where = f"CURATOR_OUTPUT_DIR is {self.address}"
        says = _says(error)
        if isinstance(error, FileNotFoundError):
            return CuratorFolderError(
                f"{where}, and nothing lies under it.",
                "Check the address. To retire every file, leave one object whose name begins with `_`.",
            )
        if "NO_SUCH_BUCKET" in str(error) or "not found" in says:
            return CuratorFolderError(
                f"{where}, and there is no such bucket: {says}.",
                "Check its name, and AWS_ENDPOINT_URL_S3 where the store is not Amazon's.",
            )
        if "NETWORK_CONNECTION" in str(error):
            return CuratorFolderError(
                f"{where}, and the store cannot be reached: {says}.",
                "Start it, or correct AWS_ENDPOINT_URL_S3.",
            )
        return CuratorFolderError(
            f"{where}, and the store refuses: {says}.",
            "Check its credentials (for s3:// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE) and that "
            "they may list and read.",
        )


@dataclass(frozen=True)
class StoredObject:
    """One object, to be opened; `str()` is its address."""

    filesystem: FileSystem
    path: str
    address: str

    def __str__(self) -> str:
        return self.address

    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        """A stream that fetches ranges as it is read; raises OSError."""
        try:
            return io.BufferedReader(_RangeReader(self.filesystem.open_input_file(self.path)), _READ_AHEAD_BYTES)
        except OSError as error:
            raise _numbered(error) from error


class _RangeReader(io.RawIOBase):
    """An Arrow file as Python's raw stream: a broken connection is told from a file that is not what its name says."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any, /) -> int:
        try:
            return self._file.readinto(buffer)
        except OSError as error:
            raise _numbered(error) from error

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _numbered(error: OSError) -> OSError:
    """Arrow's errors of a store have no number; without one they look like those of a damaged Parquet file."""
    return error if error.errno is not None else OSError(errno.EIO, _says(error))


def _connect(address: str) -> tuple[FileSystem, str]:
    from pyarrow import fs

    parts = urlsplit(address)
    path = f"{parts.netloc}{parts.path}"
    if parts.scheme == "s3":
        return fs.S3FileSystem(**_s3_options(parts.netloc, os.environ)), path  # pyright: ignore[reportPrivateImportUsage]
    if parts.scheme == "gs":
        # Arrow goes on trying for 15 minutes where a store cannot be reached.
        return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=30)), path  # pyright: ignore[reportPrivateImportUsage]
    filesystem, path = fs.FileSystem.from_uri(address)  # pyright: ignore[reportPrivateImportUsage]
    return filesystem, path.rstrip("/")


def _s3_options(bucket: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """The lake's own variables; keys are left to the SDK, which reads the same ones, profiles and machine roles."""
    from pyarrow import fs

    options: dict[str, Any] = {"connect_timeout": 10, "request_timeout": 60}
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if endpoint:
        scheme, _, host = endpoint.rstrip("/").rpartition("://")
        options |= {"endpoint_override": host, "scheme": scheme or "https"}
    elif not region:
        region = fs.resolve_s3_region(bucket)  # pyright: ignore[reportPrivateImportUsage]
    return {**options, "region": region or "us-east-1"}


def _says(error: Exception) -> str:
    """A store's own words, without what only its client's authors can read."""
    text = str(error).split(" operation: ")[-1]
    text = re.sub(r"\s*\(?Request ID: [^)]*\)?", "", text)
    return re.sub(r"\s+", " ", text).strip().rstrip(".")
