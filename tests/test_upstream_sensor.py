"""The sensor over Curator's own asset: real materializations in, one run out."""

from __future__ import annotations

import dagster as dg
import pytest

from synth_assets.definitions import project_defs


@dg.asset(key=["curator", "deduplicated"])
def deduplicated() -> int:
    """Curator's last step, which lives in another code location and is no part of this project's definitions."""
    return 1


parts = dg.StaticPartitionsDefinition(["one", "two", "three"])


@dg.asset(key=["curator", "deduplicated"], partitions_def=parts)
def partitioned() -> int:
    """The same with partitions."""
    return 1


class Sensor:
    """The project's sensor with its cursor, called as the daemon calls it."""

    def __init__(self, workplace) -> None:
        workplace.environment["CURATOR_ASSET"] = "curator/deduplicated"
        sensors = project_defs(workplace.project()).sensors or []
        self.definition = next(sensor for sensor in sensors if sensor.name == "curator_asset")
        self.instance = workplace.instance
        self.cursor: str | None = None
        self.skipped = ""

    def tick(self) -> list[dg.RunRequest]:
        """One evaluation; the runs that it asks for."""
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            result = self.definition(context)
        assert isinstance(result, dg.SensorResult)
        self.skipped = str(result.skip_reason.skip_message) if result.skip_reason else ""
        self.cursor = result.cursor or self.cursor
        return list(result.run_requests or [])


@pytest.fixture
def sensor(workplace) -> Sensor:
    return Sensor(workplace)


def test_a_materialization_asks_for_one_run_and_the_next_tick_for_none(workplace, sensor):
    assert sensor.tick() == []
    assert sensor.skipped == "curator/deduplicated has not been materialized since"
    dg.materialize([deduplicated], instance=workplace.instance)
    [request] = sensor.tick()
    assert request.run_key == f"curator/deduplicated:{sensor.cursor}"
    assert request.tags["synth/upstream_asset"] == "curator/deduplicated"
    assert sensor.tick() == []
    assert sensor.definition.default_status == dg.DefaultSensorStatus.STOPPED


def test_many_materializations_and_partitions_between_two_ticks_are_one_run(workplace, sensor):
    for name in parts.get_partition_keys():
        dg.materialize([partitioned], instance=workplace.instance, partition_key=name)
    assert len(sensor.tick()) == 1
    assert sensor.tick() == []
    dg.materialize([partitioned], instance=workplace.instance, partition_key="two")
    assert len(sensor.tick()) == 1


def test_a_tick_that_is_evaluated_again_asks_for_the_same_run_and_a_later_event_for_another(workplace, sensor):
    dg.materialize([deduplicated], instance=workplace.instance)
    [first] = sensor.tick()
    sensor.cursor = None
    [again] = sensor.tick()
    dg.materialize([deduplicated], instance=workplace.instance)
    [later] = sensor.tick()
    assert first.run_key == again.run_key != later.run_key


def test_another_asset_and_a_failed_materialization_ask_for_nothing(workplace, sensor):
    @dg.asset(key=["curator", "deduplicated"])
    def failing() -> None:
        raise RuntimeError("no output")

    @dg.asset(key=["curator", "other"])
    def other() -> None:
        """Of no interest."""

    dg.materialize([failing], instance=workplace.instance, raise_on_error=False)
    dg.materialize([other], instance=workplace.instance)
    assert sensor.tick() == []


def test_without_the_setting_there_is_no_such_sensor(workplace):
    assert "curator_asset" not in [sensor.name for sensor in project_defs(workplace.project()).sensors or []]
