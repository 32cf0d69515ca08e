"""Jobs: bringing everything that is stale up to date, as the sensor, the UI and a schedule ask for it.

In: one job that runs the same planner as `synth run`. Out: materializing chosen assets, which needs no job.
"""

import dagster as dg
from pydantic import Field

from synth_assets.assets.dead_runs import mark_run
from synth_assets.planning.progress import SilentProgress
from synth_assets.planning.run import RunSelection, StaleRunner
from synth_assets.project import Project

BRING_UP_TO_DATE = "bring_up_to_date"


class SelectionConfig(dg.Config):
    """What to limit the run to; empty lists mean everything."""

    strategies: list[str] = Field(default_factory=list)
    files: list[str] = Field(default_factory=list)
    is_regenerated: bool = Field(default=False, description="Ask anew for these answers; the old ones are kept.")


def build_bring_up_to_date(project: Project, tables: dg.Definitions) -> dg.JobDefinition:
    """The job over a project; `tables` are its definitions without jobs and sensors."""

    @dg.op(description="Plan what is stale, buy missing answers through one pipe, materialize level by level.")
    def materialize_stale(context: dg.OpExecutionContext, config: SelectionConfig) -> None:
        class LogProgress(SilentProgress):
            def step(self, asset: str, partition_count: int) -> None:
                context.log.info(f"{asset}: {partition_count} partition(s)")

        mark_run(context.instance, context.run)
        runner = StaleRunner(project, tables, context.instance, LogProgress())
        summary = runner.run(RunSelection.of(config.strategies, config.files), config.is_regenerated)
        bought = project.purchases.total()
        context.add_output_metadata(
            {
                "materialized": len(summary.materialized),
                "failed": len(summary.failed),
                "requests_sent": bought.requests_sent,
                "answered_from_ledger": bought.answered_from_ledger,
            }
        )
        if summary.failed or summary.errors:
            raise dg.Failure("; ".join(summary.errors), allow_retries=False)

    @dg.job(name=BRING_UP_TO_DATE, executor_def=dg.in_process_executor)
    def bring_up_to_date() -> None:
        """Materialize exactly what is stale."""
        materialize_stale()

    return bring_up_to_date
