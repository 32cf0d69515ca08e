"""The sensor for those whose Curator runs in Dagster: its asset's materialization asks for a run.

In: looking at the event log that all code locations share. Out: the folder itself, which the run looks at.
"""

import dagster as dg

from synth_assets.jobs import BRING_UP_TO_DATE
from synth_assets.run_requests import has_queued_run, run_request


def build_upstream_sensor(curator_asset: str | None, job: dg.JobDefinition) -> dg.SensorDefinition | None:
    """The sensor over an asset (key with `/`) of this or another code location; None where none is named.

    However many materializations and partitions there were since the last tick, one run takes them all. The cursor is
    the event log's number of the latest one.
    """
    if curator_asset is None:
        return None
    key = dg.AssetKey(curator_asset.split("/"))

    # Not `dg.asset_sensor`, which moves its cursor also where nothing was asked for, and hides the event's number.
    @dg.sensor(
        name="curator_asset",
        job=job,
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=f"Runs {BRING_UP_TO_DATE} when {curator_asset} has been materialized.",
    )
    def curator_asset_materialized(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        since = int(context.cursor) if context.cursor else None
        after = dg.AssetRecordsFilter(asset_key=key, after_storage_id=since)
        records = context.instance.fetch_materializations(after, limit=1).records
        if not records:
            return dg.SensorResult(skip_reason=f"{curator_asset} has not been materialized since")
        if has_queued_run(context.instance):
            return dg.SensorResult(skip_reason=f"{curator_asset} was materialized; a run that takes it is queued")
        latest = records[0].storage_id
        request = run_request(f"{curator_asset}:{latest}", {"synth/upstream_asset": curator_asset})
        return dg.SensorResult(run_requests=[request], cursor=str(latest))

    return curator_asset_materialized
