"""How sensors ask for a run: with its retries, and not while one is queued that will see the same state.

In: the request and the look at the queue. Out: when to ask (`sensors`, `upstream_sensor`).
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
from dagster import DagsterInstance

from synth_assets.jobs import BRING_UP_TO_DATE

CRASH_RETRIES = 2
"""A run whose process dies is started again so often; what it bought is in the ledger. An asset that fails is not
retried: it would fail again, at the price of its calls."""


RETRY_TAGS = {"dagster/max_retries": str(CRASH_RETRIES), "dagster/retry_on_asset_or_op_failure": "false"}
"""Of every run that a sensor asks for."""


def run_request(run_key: str, tags: Mapping[str, str]) -> dg.RunRequest:
    """A run of everything that is stale; Dagster makes one run of a key, however often it is asked for."""
    return dg.RunRequest(run_key=run_key, tags={**RETRY_TAGS, **tags})


def has_queued_run(instance: DagsterInstance) -> bool:
    """Whether a run of everything that is stale waits for its start: it plans then, so it takes what comes until then.

    One that is limited to some files or strategies does not count.
    """
    waiting = dg.RunsFilter(job_name=BRING_UP_TO_DATE, statuses=[dg.DagsterRunStatus.QUEUED])
    return any(not run.run_config.get("ops") for run in instance.get_runs(waiting))
