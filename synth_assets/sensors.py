"""The sensors: when Curator's output is new, changed or gone, one run brings everything up to date.

In: looking at the folder, and asking for runs. Out: which files are whole (`settled_files`), a Curator that runs in
Dagster (`upstream_sensor`), and deciding what is stale, which the run's own planner does.
"""

import time
from collections.abc import Sequence

import dagster as dg

from synth_assets.jobs import BRING_UP_TO_DATE
from synth_assets.project import Project
from synth_assets.run_requests import has_queued_run, run_request
from synth_assets.settled_files import Memory, settle
from synth_assets.upstream_sensor import build_upstream_sensor


def build_sensors(project: Project, job: dg.JobDefinition) -> Sequence[dg.SensorDefinition]:
    """The sensor over the project's Curator folder, and the one over Curator's asset where CURATOR_ASSET names it."""

    @dg.sensor(
        name="curator_outputs",
        job=job,
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=f"Runs {BRING_UP_TO_DATE} when files of {project.curator} are new, changed or deleted.",
    )
    def curator_outputs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        before = Memory.of(context.cursor)
        look = settle(project.curator.files(), before, time.time(), project.curator.has_whole_files_only)
        changed = before.changed(look.memory)
        if not changed:
            reason = (
                f"{look.being_written} file(s) still being written" if look.being_written else "no file has changed"
            )
            cursor = None if look.memory == before else look.memory.cursor()
            return dg.SensorResult(skip_reason=reason, cursor=cursor)
        if has_queued_run(context.instance):
            # It looks at the folder when it starts. The cursor stays, so nothing is lost should it never start.
            return dg.SensorResult(skip_reason=f"{len(changed)} file(s) changed; a run that takes them is queued")
        after = look.memory.with_next_run_key(before)
        context.log.info(f"{len(changed)} file(s) new, changed or deleted: {', '.join(changed[:5])}")
        request = run_request(after.run_key, {"synth/changed_files": str(len(changed))})
        return dg.SensorResult(run_requests=[request], cursor=after.cursor())

    upstream = build_upstream_sensor(project.settings.curator_asset, job)
    return [curator_outputs] if upstream is None else [curator_outputs, upstream]
