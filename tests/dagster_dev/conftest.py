"""The project in the real Dagster: webserver, daemon and code location as processes, driven as the UI drives them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import psutil
import pytest

from resources.lake import Lake
from resources.testing import FakeServer
from synth_assets.assets.keys import ASKED_FOR_BY_NAME
from synth_assets.assets.versions import DATA_VERSION_TAG, UPSTREAM_TAG, Versions
from synth_assets.dagster_home import prepare_dagster_home
from synth_assets.definitions import project_defs
from synth_assets.planning.stale import StalePartition, StalePlanner
from synth_assets.project import Project, build_project
from synth_assets.settings import SAMPLE_CORPUS, Settings

REPOSITORY = Path(__file__).parents[2]
LOCATION = {"repositoryLocationName": "synth_assets", "repositoryName": "__repository__"}
PATIENCE_SECONDS = 600
"""Only ends a test that hangs; how long anything takes is not what is tested."""

IN_FLIGHT = 8
FINAL = ("SUCCESS", "FAILURE", "CANCELED")
FINAL_BACKFILL = ("COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED")

RUNS = "query { runsOrError { ... on Runs { results { runId status jobName } } } }"
RUN = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status jobName tags { key value } } } }"
LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
BACKFILL = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
BACKFILL_STATUS = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status runs(limit: 10) { status } } } }"""
START_SENSOR = """mutation($sensor: SensorSelector!) { startSensor(sensorSelector: $sensor) {
    __typename ... on Sensor { id sensorState { status } } ... on PythonError { message } } }"""
STOP_SENSOR = "mutation($id: String!) { stopSensor(id: $id) { __typename ... on PythonError { message } } }"
MATERIALIZATIONS = """query($key: AssetKeyInput!, $partitions: [String!]) { assetNodeOrError(assetKey: $key) {
    ... on AssetNode { latestMaterializationByPartition(partitions: $partitions) {
        partition tags { key value } } } } }"""


@dataclass
class Ui:
    """A running webserver and daemon over a project of their own."""

    url: str
    corpus: Path
    settings: Settings
    model_server: FakeServer
    start_process: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start webserver, daemon and code location, and wait until they answer."""
        self.process = self.start_process()
        self.wait_for(self.is_up, "the webserver")

    def is_up(self) -> bool:
        assert self.process.poll() is None, "dagster dev ended"
        return "runsOrError" in httpx.post(f"{self.url}/graphql", json={"query": RUNS}, timeout=30).text

    def kill(self) -> None:
        """`kill -9` of all of Dagster's processes, runs among them."""
        parent = psutil.Process(self.process.pid)
        family = [*parent.children(recursive=True), parent]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        self.process.wait()
        psutil.wait_procs(family)

    def ask(self, query: str, **variables: Any) -> Any:
        """The one field that a query asks for."""
        body = {"query": query, "variables": variables}
        answer = httpx.post(f"{self.url}/graphql", json=body, timeout=120).json()
        assert "errors" not in answer, answer["errors"]
        (value,) = answer["data"].values()
        return value

    def launch(self, job: str) -> str:
        """Launch a job as the launchpad does, wait for its end and return its status."""
        params = {"selector": {**LOCATION, "jobName": job}, "runConfigData": {}, "mode": "default"}
        launched = self.ask(LAUNCH, params=params)
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id = launched["run"]["runId"]
        return self.wait_for(lambda: ended(self.ask(RUN, id=run_id)["status"], FINAL), f"run {run_id}")

    def backfill(self, assets: Sequence[str], partitions: Sequence[str]) -> dict[str, Any]:
        """Backfill some partitions of some assets, wait for the end and return its status and runs."""
        selection = [{"path": asset.split(".")} for asset in assets]
        launched = self.ask(BACKFILL, params={"assetSelection": selection, "partitionNames": [*partitions]})
        assert launched["__typename"] == "LaunchBackfillSuccess", launched

        def when_ended() -> dict[str, Any] | None:
            backfill = self.ask(BACKFILL_STATUS, id=launched["backfillId"])
            return backfill if ended(backfill["status"], FINAL_BACKFILL) else None

        return self.wait_for(when_ended, "the backfill")

    def start_sensor(self, name: str) -> str:
        """Turn a sensor on; the id to stop it with."""
        started = self.ask(START_SENSOR, sensor={**LOCATION, "sensorName": name})
        assert started["__typename"] == "Sensor", started
        return started["id"]

    def stop_sensor(self, sensor_id: str) -> None:
        stopped = self.ask(STOP_SENSOR, id=sensor_id)
        assert stopped["__typename"] == "StopSensorMutationResult", stopped

    def statuses_when_all_ended(self, job: str) -> list[str]:
        """How each run of a job ended; empty while there is none or one goes on."""
        statuses = [run["status"] for run in self.ask(RUNS)["results"] if run["jobName"] == job]
        return statuses if all(status in FINAL for status in statuses) else []

    def is_idle(self) -> bool:
        """Whether no run is waiting or under way."""
        return all(run["status"] in FINAL for run in self.ask(RUNS)["results"])

    def materializations(self) -> list[tuple[str, str | None]]:
        """Asset and partition of everything that was materialized so far, as often as it was."""
        with dg.DagsterInstance.from_config(str(self.settings.dagster_home)) as instance:
            return [
                (".".join(key.path), record.asset_materialization.partition)
                for key in self.graph.materializable_asset_keys
                for record in instance.fetch_materializations(key, limit=1000).records
                if record.asset_materialization and UPSTREAM_TAG in (record.asset_materialization.tags or {})
            ]

    def stale(self) -> list[StalePartition]:
        """What `synth plan` would find stale now; measuring the server is left out, as there."""
        self.project.roots.forget()
        with dg.DagsterInstance.from_config(str(self.settings.dagster_home)) as instance:
            versions = Versions(instance, self.graph, self.project.roots)
            return StalePlanner(self.graph, versions, self.project.lake, ASKED_FOR_BY_NAME).everything()

    @staticmethod
    def wait_for(condition: Callable[[], Any], what: str) -> Any:
        """Ask again until the answer is something."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if answer := condition():
                    return answer
            time.sleep(0.5)
        pytest.fail(f"waited {PATIENCE_SECONDS} s for {what}")

    @staticmethod
    def sample_documents(count: int) -> list[dict[str, Any]]:
        """The first documents of the sample corpus."""
        with (SAMPLE_CORPUS / "history-and-places.jsonl").open() as lines:
            return [json.loads(line) for line in itertools.islice(lines, count)]

    def data_versions(self, asset: str, *partitions: str) -> dict[str, str]:
        """Data version by partition, as the asset's page shows it."""
        found = self.ask(MATERIALIZATIONS, key={"path": asset.split(".")}, partitions=list(partitions))
        tags = {
            event["partition"]: {tag["key"]: tag["value"] for tag in event["tags"]}
            for event in found["latestMaterializationByPartition"]
        }
        return {partition: values[DATA_VERSION_TAG] for partition, values in tags.items()}

    @cached_property
    def project(self) -> Project:
        return build_project(self.settings)

    @cached_property
    def graph(self) -> dg.AssetGraph:
        return project_defs(self.project).resolve_asset_graph()

    @property
    def lake(self) -> Lake:
        return self.project.lake

    def count(self, sql: str) -> dict[str, int]:
        """Rows of a query with two columns: a name and a number."""
        return {row["name"]: row["n"] for row in self.lake.query(sql).to_pylist()}

    def write(self, name: str, documents: list[dict[str, Any]]) -> None:
        """Write a file of the corpus that its writer seems to have finished long ago."""
        path = self.corpus / name
        path.write_text("".join(json.dumps(document) + "\n" for document in documents))
        os.utime(path, (1_700_000_000 + len(documents), 1_700_000_000 + len(documents)))


def ended(status: str, final: tuple[str, ...]) -> str | None:
    return status if status in final else None


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory, tiny_gpt2: Path) -> Iterator[Ui]:
    folder = tmp_path_factory.mktemp("ui")
    corpus = folder / "corpus"
    corpus.mkdir()
    with FakeServer() as model_server, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        environment = {
            "SYNTH_HOME": str(folder / "home"),
            "CURATOR_OUTPUT_DIR": str(corpus),
            "VLLM_BASE_URL": model_server.base_url,
            "PERPLEXITY_MODEL": str(tiny_gpt2),
            "SYNTH_MODELS": str(folder / "models"),
            "VLLM_MAX_PARALLEL_REQUESTS": str(IN_FLIGHT),
        }
        settings = Settings.from_environment(environment)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DAGSTER_HOME", "")
            prepare_dagster_home(settings.dagster_home)
        log_file = folder / "dagster.log"
        dagster = Path(sys.executable).with_name("dagster")
        command = [dagster, "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]

        def start_process() -> subprocess.Popen[bytes]:
            with log_file.open("a") as log:
                return subprocess.Popen(
                    command,
                    cwd=REPOSITORY,
                    env={**os.environ, **environment, "DAGSTER_HOME": str(settings.dagster_home)},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

        running = Ui(f"http://127.0.0.1:{port}", corpus, settings, model_server, start_process)
        try:
            running.start()
            yield running
        finally:
            stop_group(running.process)
            print(log_file.read_text()[-6000:])


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C for the webserver, the daemon and the code servers; what is left after that is killed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=60)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
