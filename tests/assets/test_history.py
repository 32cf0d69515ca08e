"""What is read straight from Dagster's SQLite file is what Dagster's own instance says."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterEventType, DagsterInstance

from synth_assets.assets.history import History, InstanceHistory, NoHistory
from synth_assets.assets.sqlite_history import KNOWN_REVISION, open_sqlite_history
from synth_assets.dagster_home import open_instance

DOCUMENTS, REPORT, WIPED = (dg.AssetKey(name) for name in ("documents", "report", "wiped"))
FAILING, NEVER_RUN = dg.AssetCheckKey(DOCUMENTS, "adds_up"), dg.AssetCheckKey(DOCUMENTS, "never_run")
KINDS = (DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_OBSERVATION)


@pytest.fixture
def dagster_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", "")
    return tmp_path / "dagster"


@pytest.fixture
def instance(dagster_home: Path) -> Iterator[DagsterInstance]:
    with open_instance(dagster_home) as instance:
        instance.add_dynamic_partitions("curator_file", ["b.jsonl", "a.jsonl"])
        for number in range(2):
            for partition in ("a.jsonl", "b.jsonl"):
                made = dg.AssetMaterialization(DOCUMENTS, partition=partition, tags={"number": str(number)})
                instance.report_runless_asset_event(made)
            instance.report_runless_asset_event(dg.AssetMaterialization(REPORT, tags={"number": str(number)}))
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(DOCUMENTS, FAILING.name, passed=number == 0, metadata={"number": number})
            )
        instance.report_runless_asset_event(dg.AssetObservation(DOCUMENTS, partition="a.jsonl"))
        instance.report_runless_asset_event(dg.AssetMaterialization(WIPED, partition="a.jsonl"))
        instance.wipe_assets([WIPED])
        yield instance


def everything(history: History) -> dict[str, object]:
    assets = (DOCUMENTS, REPORT, WIPED)
    ids = {(key, kind): dict(history.latest_event_ids(key, kind)) for key in assets for kind in KINDS}
    return {
        "dynamic partitions": list(history.dynamic_partitions("curator_file")),
        "ids": ids,
        "materializations": {
            key: sorted(history.materializations(key, sorted(ids[key, KINDS[0]].values())), key=lambda e: e.timestamp)
            for key in assets
        },
        "last materializations": {key: history.last_materialization(key) for key in assets},
        "evaluations": {check: history.last_evaluation(check) for check in (FAILING, NEVER_RUN)},
    }


def test_the_file_says_what_the_instance_says(instance: DagsterInstance, dagster_home: Path) -> None:
    history = open_sqlite_history(dagster_home)
    assert history is not None
    found = everything(history)
    assert found == everything(InstanceHistory(instance))
    assert found["dynamic partitions"] == ["b.jsonl", "a.jsonl"]
    last = history.last_materialization(REPORT)
    materialization = last.asset_materialization if last else None
    assert materialization is not None
    assert (materialization.tags or {})["number"] == "1"


def test_an_instance_where_nothing_happened_says_what_no_history_says(dagster_home: Path) -> None:
    with open_instance(dagster_home) as instance:
        assert everything(NoHistory()) == everything(InstanceHistory(instance))


@pytest.mark.usefixtures("instance")
def test_reading_changes_no_file_and_needs_no_other_table(dagster_home: Path) -> None:
    history = open_sqlite_history(dagster_home)
    assert history is not None
    before = (dagster_home / "history" / "runs" / "index.db").read_bytes()
    everything(history)
    assert (dagster_home / "history" / "runs" / "index.db").read_bytes() == before


@pytest.mark.usefixtures("instance")
def test_another_storage_is_left_to_dagster(dagster_home: Path) -> None:
    with (dagster_home / "dagster.yaml").open("a") as file:
        file.write("storage:\n  sqlite:\n    base_dir: /elsewhere\n")
    assert open_sqlite_history(dagster_home) is None


@pytest.mark.usefixtures("instance")
def test_tables_of_another_revision_are_left_to_dagster(dagster_home: Path) -> None:
    with closing(sqlite3.connect(dagster_home / "history" / "runs" / "index.db")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(KNOWN_REVISION,)]
        connection.execute("UPDATE alembic_version SET version_num = 'later'")
        connection.commit()
    assert open_sqlite_history(dagster_home) is None
