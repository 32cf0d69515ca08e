"""The sensor on Curator outputs: when files are new, changed or gone, one run brings everything up to date.

In: looking at the folder and asking for runs. Out: deciding what is stale, which the run's own planner does.

The cursor holds what was asked for, by file: size, modification time and content. A file is left alone until it has
been quiet for a while and looks whole, since Curator writes in place and leaves no mark when it is done.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from synth_assets.jobs import BRING_UP_TO_DATE
from synth_assets.project import Project

QUIET_SECONDS = 10.0
"""A file that was written to more recently is still being written; Curator's writers flush every few seconds."""

UNFINISHED_SECONDS = 300.0
"""After so long without a write, a file that does not look whole is taken as it is: its writer ends without a mark."""

Seen = dict[str, tuple[int, int]]


def build_sensors(project: Project, job: dg.JobDefinition) -> Sequence[dg.SensorDefinition]:
    """The sensor over the project's Curator folder."""

    @dg.sensor(
        name="curator_outputs",
        job=job,
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=f"Runs {BRING_UP_TO_DATE} when files of {project.curator.folder} are new, changed or deleted.",
    )
    def curator_outputs(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        before: Seen = {name: (size, mtime) for name, (size, mtime) in json.loads(context.cursor or "{}").items()}
        now, waiting = settled_files(project.curator.files(), before, time.time())
        if now == before:
            return dg.SkipReason(f"{waiting} file(s) still being written" if waiting else "no file has changed")
        cursor = json.dumps(now, sort_keys=True)
        changed = sorted(name for name in {*now, *before} if now.get(name) != before.get(name))
        # The modification times are part of the key: content A, then B, then A again is three runs, not two.
        run_key = hashlib.blake2b(cursor.encode(), digest_size=16).hexdigest()
        context.log.info(f"{len(changed)} file(s) new, changed or deleted: {', '.join(changed[:5])}")
        return dg.SensorResult(
            run_requests=[dg.RunRequest(run_key=run_key, tags={"synth/changed_files": str(len(changed))})],
            cursor=cursor,
        )

    return [curator_outputs]


def settled_files(files: dict[str, Path], before: Seen, now_seconds: float) -> tuple[Seen, int]:
    """Size and modification time of each whole file, and how many are still being written.

    A file that is being written keeps the entry it had, so that it counts as unchanged until it is whole.
    """
    seen: Seen = {}
    waiting = 0
    for name, path in files.items():
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        entry = (status.st_size, status.st_mtime_ns)
        if before.get(name) == entry:
            seen[name] = entry
        elif is_being_written(path, status.st_size, now_seconds - status.st_mtime):
            waiting += 1
            if name in before:
                seen[name] = before[name]
        else:
            seen[name] = entry
    return seen, waiting


def is_being_written(path: Path, size_bytes: int, quiet_seconds: float) -> bool:
    """Written to a moment ago, or not yet whole and not yet given up on."""
    if quiet_seconds < QUIET_SECONDS:
        return True
    return quiet_seconds < UNFINISHED_SECONDS and not is_whole(path, size_bytes)


def is_whole(path: Path, size_bytes: int) -> bool:
    """Whether a file's end looks like an end: a line break for JSONL, the magic number for Parquet."""
    if path.suffix == ".parquet":
        return size_bytes >= 8 and _tail(path, 4) == b"PAR1"
    if path.suffix == ".jsonl":
        return size_bytes == 0 or _tail(path, 1) == b"\n"
    return size_bytes > 0


def _tail(path: Path, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(-length, 2)
        return file.read(length)
