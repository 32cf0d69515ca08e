"""A whole export or none: files are made in a folder of their own and take their places at the end.

In: that folder, the swap, what an interrupted export leaves. Out: what the files hold (`long_form`, `manifest`).

The folder lies inside the directory and not beside it, since a directory can be a mount of its own, into which nothing
can be renamed from outside. State of a directory: with `manifest.json` and no `.export-unfinished` it is whole;
with both, the old export stands and a new one was begun; without `manifest.json` a swap was interrupted, and the next
export puts it right. Files that no manifest names are never touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from resources.errors import SynthError

STAGING_NAME = ".export-unfinished"
MANIFEST_NAME = "manifest.json"
CARD_NAME = "README.md"
MADE_BY = "synth_assets"
_KNOWN_NAME = "known_files.json"


@contextlib.contextmanager
def staged_export(directory: Path) -> Iterator[Path]:
    """A folder to make the files in; on leaving without an error they take their places, the manifest last.

    Files of the same format that the last manifest names and this export does not have are removed. Raises SynthError
    when another export writes to the directory, or when its card or manifest is not an export's.
    """
    directory.mkdir(parents=True, exist_ok=True)
    staging = directory / STAGING_NAME
    with _only_writer(directory):
        known = _known_files(directory, staging)
        _refuse_foreign(directory, known)
        shutil.rmtree(staging / "files", ignore_errors=True)
        (staging / "files").mkdir(parents=True)
        _write_json(staging / _KNOWN_NAME, sorted(known))
        try:
            yield staging / "files"
            _swap(directory, staging / "files", known)
        finally:
            # After an error in the swap the names are still needed.
            if (directory / MANIFEST_NAME).exists() or not known:
                shutil.rmtree(staging, ignore_errors=True)


def manifest_files(path: Path) -> set[str] | None:
    """Names of the files that a manifest lists; None where there is none, or another program's."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["made_by"] != MADE_BY:
            return None
        return {str(file["path"]) for file in content["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def _only_writer(directory: Path) -> Iterator[None]:
    handle = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            remedy = "Wait for it, or choose another folder."
            raise SynthError(f"Another export writes to {directory}.", remedy) from None
        except OSError:
            # Some network file systems lock no folders; there it is up to the user.
            pass
        yield
    finally:
        os.close(handle)


def _known_files(directory: Path, staging: Path) -> set[str]:
    """What earlier exports have put here, the interrupted ones included."""
    known = set(manifest_files(directory / MANIFEST_NAME) or ())
    known |= manifest_files(staging / "files" / MANIFEST_NAME) or set()
    with contextlib.suppress(OSError, ValueError):
        known |= {str(name) for name in json.loads((staging / _KNOWN_NAME).read_text(encoding="utf-8"))}
    return {name for name in known if Path(name).name == name}


def _refuse_foreign(directory: Path, known: set[str]) -> None:
    card, manifest = directory / CARD_NAME, directory / MANIFEST_NAME
    is_foreign = {card: CARD_NAME not in known, manifest: manifest_files(manifest) is None}
    for path, foreign in is_foreign.items():
        if path.exists() and foreign:
            raise SynthError(f"{path} was not written by an export, which would replace it.", "Choose another folder.")


def _swap(directory: Path, made: Path, known: set[str]) -> None:
    names = sorted(path.name for path in made.iterdir() if path.name != MANIFEST_NAME)
    for path in made.iterdir():
        _sync(path)
    (directory / MANIFEST_NAME).unlink(missing_ok=True)
    for name in _outdated(known, names):
        (directory / name).unlink(missing_ok=True)
    for name in names:
        os.replace(made / name, directory / name)
    os.replace(made / MANIFEST_NAME, directory / MANIFEST_NAME)
    _sync(directory)


def _outdated(known: set[str], names: Sequence[str]) -> list[str]:
    """Known files of the formats just written; an export in another format may stand beside this one."""
    suffixes = {Path(name).suffix for name in names}
    return sorted(name for name in known.difference(names) if Path(name).suffix in suffixes)


def _write_json(path: Path, value: object) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    os.replace(temporary, path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
