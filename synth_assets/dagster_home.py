"""Dagster's own storage under SYNTH_HOME: made once, opened safely by several processes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import dagster as dg

DAGSTER_YAML = """\
# Written once by synth_assets; edit freely. Runs, events and schedules are kept in SQLite files in this folder;
# for several machines see deploy/.
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 4
  # A run that needs a pool waits in the queue. Waiting within a run (granularity: op) uses a whole core in Dagster
  # 1.13, and a run that `synth run` executes itself would wait for a slot that a killed run still holds.
  pools:
    granularity: run
    default_limit: 1
run_monitoring:
  enabled: true
# A run whose process died is started again; one whose asset or check failed is not: it would fail again, for money.
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
"""


def prepare_dagster_home(folder: Path) -> None:
    """Make the folder with its configuration and point this process, and those it starts, to it."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "dagster.yaml"
    if not configuration.exists():
        configuration.write_text(DAGSTER_YAML)
    os.environ["DAGSTER_HOME"] = str(folder)


def open_instance(folder: Path) -> dg.DagsterInstance:
    """Open the instance; the first opening is serialised, since several at once crash on a fresh folder."""
    prepare_dagster_home(folder)
    with open(folder / ".open.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        instance = dg.DagsterInstance.get()
        instance.event_log_storage.get_asset_records([])
    return instance
