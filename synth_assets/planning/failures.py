"""What a run says of what failed: in words, and whether it was Ctrl-C.

In: results of Dagster's runs, and what a blocking check keeps back. Out: running anything (`run`).
"""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from synth_assets.planning.stale import StalePartition, check_title

FILES_NAMED = 5


def blocking_texts(blocked: Iterable[StalePartition]) -> list[str]:
    """One sentence for each check that blocked something, with its files."""
    files: dict[dg.AssetCheckKey, set[str | None]] = {}
    for item in blocked:
        if item.blocked_by is not None:
            files.setdefault(item.blocked_by, set()).add(item.partition)
    return [
        f"{check_title(check)} fails for {', '.join(sorted(map(str, names))[:FILES_NAMED])}"
        f"{', …' if len(names) > FILES_NAMED else ''}: nothing was made from it. The next run checks it again."
        for check, names in files.items()
    ]


def was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Whether Ctrl-C ended a step."""
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    return any(error is not None and error.cls_name == "DagsterExecutionInterruptedError" for error in errors)


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """Why the first step that failed did, in the words of its error."""
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return data.user_failure_data.description
            if data.error is not None:
                cause = data.error.cause or data.error
                return cause.message.strip()
    return "the run failed; see its events in the Dagster UI"
