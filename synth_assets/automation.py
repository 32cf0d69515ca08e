"""Declarative automation: Dagster's daemon asks for exactly what the planner finds stale, level by level.

In: the condition that every table carries and the sensor that evaluates it. Out: deciding (`automation_tick`), and
looking at files and models (`curator_partitions`).

Dagster's own conditions are not used for staleness: they see changes one event at a time, not the state that the
planner compares, and so miss what changed before they were turned on, a deleted partition, and a reduce edge with 100
upstream partitions.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import cast

import dagster as dg

from resources.lake import Lake
from synth_assets.assets.keys import ASKED_FOR_BY_NAME
from synth_assets.automation_tick import AutomationTick, Request
from synth_assets.run_requests import RETRY_TAGS

AUTOMATION = "automation"

TICK_SECONDS = 10
"""Each of the eight levels of the graph waits for a tick; one takes 0.6 s of a core for 2,000 partition-assets."""


class StaleByPlan(dg.AutomationCondition[dg.AssetKey]):
    """True for a partition that the planner finds stale, once for each cause, when everything above it is settled.

    A failed partition is not asked for again until a file, a model or code changes what it would be made from.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._in_progress = dg.AutomationCondition.in_progress()
        self._tick: tuple[object, AutomationTick] | None = None

    @property
    def name(self) -> str:
        """As the UI shows it."""
        return "stale_by_plan"

    @property
    def description(self) -> str:
        """As the UI shows it."""
        return "synth plan lists it, everything above it is settled, and it was not asked for with this cause before"

    @property
    def children(self) -> Sequence[dg.AutomationCondition]:
        """What a run or a backfill is about to make is left to it."""
        return [self._in_progress]

    async def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:  # pyright: ignore[reportIncompatibleMethodOverride] # Dagster awaits it, as it does its own.
        """Ask the tick that all assets share."""
        # Before anything of this asset is read: a run that ends in between has then written what is read.
        in_progress = await context.for_child_condition(
            self._in_progress, child_indices=[0], candidate_subset=context.candidate_subset
        ).evaluate_async()
        is_partitioned = context.partitions_def is not None
        busy = in_progress.true_subset
        busy_partitions = (
            busy.expensively_compute_partition_keys() if is_partitioned else set() if busy.is_empty else {None}
        )
        asked = read_requests(context.cursor)
        requests = self._shared_tick(context).decide(context.key, busy_partitions, asked)
        new = {partition for partition, request in requests.items() if request != asked.get(partition)}
        if is_partitioned:
            wanted = context.candidate_subset.compute_intersection_with_partition_keys({str(name) for name in new})
        else:
            wanted = context.candidate_subset if new else context.get_empty_subset()
        return dg.AutomationResult(context, wanted, cursor=write_requests(requests), child_results=[in_progress])

    def _shared_tick(self, context: dg.AutomationContext[dg.AssetKey]) -> AutomationTick:
        """Dagster makes one view for each tick, so that the first asset of a tick looks for all of them."""
        view = context.asset_graph_view
        if self._tick is None or self._tick[0] is not view:
            graph = cast("dg.AssetGraph", context.asset_graph)
            self._tick = (view, AutomationTick(view.instance, graph, self._lake))
        return self._tick[1]


def read_requests(cursor: str | None) -> dict[str | None, Request]:
    """Requests by partition; the empty name stands for an asset without partitions."""
    return {name or None: Request(*values) for name, values in json.loads(cursor or "{}").items()}


def write_requests(requests: Mapping[str | None, Request]) -> str:
    """The form in which `read_requests` finds them on the next tick."""
    return json.dumps({name or "": astuple(request) for name, request in requests.items()})


def automated(
    assets: Sequence[dg.AssetsDefinition | dg.AssetSpec], lake: Lake
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets, those that are made from others carrying the condition, but for what is asked for by name."""
    condition = StaleByPlan(lake)

    def with_condition(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec if spec.key in ASKED_FOR_BY_NAME else spec.replace_attributes(automation_condition=condition)

    return [
        asset.map_asset_specs(with_condition)
        if isinstance(asset, dg.AssetsDefinition) and asset.is_materializable
        else asset
        for asset in assets
    ]


def build_automation() -> dg.AutomationConditionSensorDefinition:
    """The sensor that evaluates the conditions in the code location, where the planner is."""
    return dg.AutomationConditionSensorDefinition(
        AUTOMATION,
        target=dg.AssetSelection.all(),
        use_user_code_server=True,
        minimum_interval_seconds=TICK_SECONDS,
        run_tags=RETRY_TAGS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Asks for what is stale, level by level, once for each cause. Needs the sensor curator_partitions.",
    )
