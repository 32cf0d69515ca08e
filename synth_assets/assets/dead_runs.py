"""Runs whose process was killed: found by a lock that the kernel drops, ended, and their pool slots given back.

Dagster's run monitoring knows nothing of runs that a command executes in its own process, and its default launcher
cannot be asked whether a run's process lives. Such a run would be in progress for ever, hold its place in the queue,
and its slot in a pool would keep every later run of the same pool waiting. In: marking runs with their process, ending
those whose process is gone. Out: starting runs again, which the planner does since nothing of theirs was logged.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO
from uuid import uuid4

import dagster as dg

PROCESS_TAG = "synth/process"
"""On every run of this project: the name of the file that its process keeps locked while it lives."""

_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_marks: dict[tuple[int, Path], tuple[str, IO[str]]] = {}


def process_mark(instance: dg.DagsterInstance) -> str:
    """The name of the file that this process keeps locked from now on; made once for each process and instance."""
    folder = _folder(instance)
    key = (os.getpid(), folder)
    if key not in _marks:
        folder.mkdir(parents=True, exist_ok=True)
        name = uuid4().hex
        # Gets its name when it is locked: an unlocked one is taken for that of a dead process.
        unnamed = folder / f".{name}"
        file = unnamed.open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
        unnamed.rename(folder / f"{name}.lock")
        _marks[key] = (name, file)
    return _marks[key][0]


def mark_run(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Note on a run which process executes it, unless that is noted already."""
    if PROCESS_TAG not in run.tags:
        instance.add_run_tags(run.run_id, {PROCESS_TAG: process_mark(instance)})


def end_dead_runs(instance: dg.DagsterInstance) -> int:
    """Mark the unfinished runs of dead processes as failed and free their pool slots; returns how many there were.

    A process on another machine has its file there, so only that machine ends its runs.
    """
    ended = 0
    for path in sorted(_folder(instance).glob("*.lock")):
        try:
            with path.open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                ended += _end_runs_of(instance, path.stem)
                path.unlink()
        except (BlockingIOError, FileNotFoundError):
            # Alive, or somebody else is ending its runs at this moment or just has.
            continue
    return ended


def _end_runs_of(instance: dg.DagsterInstance, mark: str) -> int:
    runs = instance.get_runs(dg.RunsFilter(tags={PROCESS_TAG: mark}))
    unfinished = [run for run in runs if run.status in _UNFINISHED]
    for run in unfinished:
        instance.report_run_failed(run, "The process of this run was killed. What it had done is kept.")
    if instance.event_log_storage.supports_global_concurrency_limits:
        for run in runs:
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return len(unfinished)


def _folder(instance: dg.DagsterInstance) -> Path:
    return Path(instance.root_directory) / "processes"
