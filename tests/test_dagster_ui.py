"""The project in the real Dagster: webserver, daemon and code location as processes, driven as the UI drives them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest

from resources.lake import Lake
from resources.testing import FakeServer
from synth_assets.assets.versions import DATA_VERSION_TAG, Versions
from synth_assets.dagster_home import prepare_dagster_home
from synth_assets.definitions import project_defs
from synth_assets.planning.stale import StalePlanner
from synth_assets.project import Project, build_project
from synth_assets.settings import SAMPLE_CORPUS, Settings
from synth_assets.strategies import discover

REPOSITORY = Path(__file__).parents[1]
LOCATION = {"repositoryLocationName": "synth_assets", "repositoryName": "__repository__"}
SENSOR = {**LOCATION, "sensorName": "curator_outputs"}
PATIENCE_SECONDS = 300
"""Only ends a test that hangs; how long anything takes is not what is tested."""

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

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMIUM_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=2400,3000",
]  # fmt: skip


@dataclass
class Ui:
    """A running webserver and daemon over a project of their own."""

    url: str
    corpus: Path
    settings: Settings
    model_server: FakeServer

    def ask(self, query: str, **variables: Any) -> Any:
        """The one field that a query asks for."""
        body = {"query": query, "variables": variables}
        answer = httpx.post(f"{self.url}/graphql", json=body, timeout=120).json()
        assert "errors" not in answer, answer["errors"]
        (value,) = answer["data"].values()
        return value

    def launch(self, params: dict[str, Any]) -> str:
        """Launch a run as the launchpad does, wait for its end and return its status."""
        launched = self.ask(LAUNCH, params=params)
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id = launched["run"]["runId"]
        return wait_for(lambda: ended(self.ask(RUN, id=run_id)["status"]), f"run {run_id}")

    def data_versions(self, asset: str, *partitions: str) -> dict[str, str]:
        """Data version by partition, as the asset's page shows it."""
        found = self.ask(MATERIALIZATIONS, key={"path": asset.split(".")}, partitions=list(partitions))
        tags = {
            event["partition"]: {tag["key"]: tag["value"] for tag in event["tags"]}
            for event in found["latestMaterializationByPartition"]
        }
        return {partition: values[DATA_VERSION_TAG] for partition, values in tags.items()}

    @property
    def project(self) -> Project:
        return build_project(self.settings)

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


def ended(status: str, final: tuple[str, ...] = FINAL) -> str | None:
    return status if status in final else None


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Ask again until the answer is something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if answer := condition():
                return answer
        time.sleep(0.5)
    pytest.fail(f"waited {PATIENCE_SECONDS} s for {what}")


def sample_documents(count: int) -> list[dict[str, Any]]:
    with (SAMPLE_CORPUS / "history-and-places.jsonl").open() as lines:
        return [json.loads(line) for line in itertools.islice(lines, count)]


def save_tiny_gpt2(folder: Path) -> Path:
    """A reference model of a few thousand random weights over single characters."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    alphabet = ["<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={token: place for place, token in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    ).save_pretrained(folder)
    torch.manual_seed(7)
    config = GPT2Config(
        vocab_size=len(alphabet), n_embd=16, n_layer=1, n_head=2, n_positions=256, bos_token_id=0, eos_token_id=0
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
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
            "PERPLEXITY_MODEL": str(save_tiny_gpt2(folder / "gpt2")),
            "SYNTH_MODELS": str(folder / "models"),
        }
        settings = Settings.from_environment(environment)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DAGSTER_HOME", "")
            prepare_dagster_home(settings.dagster_home)
        log_file = folder / "dagster.log"
        dagster = Path(sys.executable).with_name("dagster")
        command = [dagster, "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
        with log_file.open("w") as log:
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env={**os.environ, **environment, "DAGSTER_HOME": str(settings.dagster_home)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        running = Ui(f"http://127.0.0.1:{port}", corpus, settings, model_server)
        try:
            wait_for(lambda: is_up(running, process), "the webserver")
            yield running
        finally:
            stop_group(process)
            print(log_file.read_text()[-6000:])


def is_up(running: Ui, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "dagster dev ended"
    return "runsOrError" in httpx.post(f"{running.url}/graphql", json={"query": RUNS}, timeout=30).text


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C for the webserver, the daemon and the code servers; what is left after that is killed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=60)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def filled(ui: Ui) -> Ui:
    """Two files that the sensor has found, and the run that it asked for, which the daemon has launched."""
    ui.write("a.jsonl", sample_documents(3)[:2])
    ui.write("b.jsonl", sample_documents(3)[2:])
    started = ui.ask(START_SENSOR, sensor=SENSOR)
    assert started["__typename"] == "Sensor", started
    statuses = wait_for(lambda: statuses_when_all_ended(ui), "the run that the sensor asks for")
    stopped = ui.ask(STOP_SENSOR, id=started["id"])
    assert stopped["__typename"] == "StopSensorMutationResult", stopped
    assert statuses == ["SUCCESS"]
    return ui


def statuses_when_all_ended(ui: Ui) -> list[str]:
    statuses = [run["status"] for run in ui.ask(RUNS)["results"] if run["jobName"] == "bring_up_to_date"]
    return statuses if all(status in FINAL for status in statuses) else []


def test_the_sensor_has_the_daemon_run_everything_for_new_files(filled: Ui) -> None:
    for strategy in discover():
        rows = filled.count(f"SELECT curator_file AS name, count(*) AS n FROM rephrased.{strategy.name} GROUP BY 1")
        assert rows == {"a.jsonl": 2, "b.jsonl": 1}, strategy.name
    originals = (
        "SELECT curator_file AS name, count(*) AS n FROM merged.documents WHERE strategy = 'original' GROUP BY 1"
    )
    assert filled.count(originals) == {"a.jsonl": 2, "b.jsonl": 1}
    assert (filled.settings.reports_dir / "report.html").is_file()


@pytest.mark.parametrize("asset", ["seed.curated_documents", "rephrased.distill", "merged.documents"])
def test_every_partition_shows_a_data_version_of_its_own(filled: Ui, asset: str) -> None:
    versions = filled.data_versions(asset, "a.jsonl", "b.jsonl")
    assert set(versions) == {"a.jsonl", "b.jsonl"}
    assert versions["a.jsonl"] != versions["b.jsonl"]


def test_a_run_launched_from_the_launchpad_asks_for_nothing_when_nothing_is_stale(filled: Ui) -> None:
    sent = filled.model_server.request_count
    before = filled.data_versions("merged.documents", "a.jsonl", "b.jsonl")
    params = {"selector": {**LOCATION, "jobName": "bring_up_to_date"}, "runConfigData": {}, "mode": "default"}
    assert filled.launch(params) == "SUCCESS"
    assert filled.model_server.request_count == sent
    assert filled.data_versions("merged.documents", "a.jsonl", "b.jsonl") == before


def test_a_backfill_over_both_files_buys_and_changes_only_what_was_edited(filled: Ui) -> None:
    assets = ["seed.curated_documents", "rephrased.distill"]
    before = {asset: filled.data_versions(asset, "a.jsonl", "b.jsonl") for asset in assets}
    sent = filled.model_server.request_count
    documents = sample_documents(5)
    filled.write("a.jsonl", [*documents[:2], documents[4]])

    selection = [{"path": asset.split(".")} for asset in assets]
    params = {"assetSelection": selection, "partitionNames": ["a.jsonl", "b.jsonl"]}
    launched = filled.ask(BACKFILL, params=params)
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    backfill = wait_for(lambda: ended_backfill(filled, launched["backfillId"]), "the backfill")
    assert backfill["status"] == "COMPLETED_SUCCESS"
    assert [run["status"] for run in backfill["runs"]] == ["SUCCESS"], "one run covers both files"

    after = {asset: filled.data_versions(asset, "a.jsonl", "b.jsonl") for asset in assets}
    for asset in assets:
        assert after[asset]["b.jsonl"] == before[asset]["b.jsonl"]
        assert after[asset]["a.jsonl"] != before[asset]["a.jsonl"]
    rows = filled.count("SELECT curator_file AS name, count(*) AS n FROM rephrased.distill GROUP BY 1")
    assert rows == {"a.jsonl": 3, "b.jsonl": 1}
    bought = filled.lake.query(
        "SELECT count(*) AS n FROM ledger.completions JOIN seed.curated_documents USING (document_id) WHERE title = ?",
        [documents[4]["title"]],
    )["n"][0].as_py()
    assert filled.model_server.request_count - sent == bought > 0
    assert stale(filled, *assets) == {asset: [] for asset in assets}


def ended_backfill(ui: Ui, backfill_id: str) -> dict[str, Any] | None:
    backfill = ui.ask(BACKFILL_STATUS, id=backfill_id)
    return backfill if backfill["status"] in FINAL_BACKFILL else None


def stale(ui: Ui, *assets: str) -> dict[str, list[str]]:
    """What `synth plan` would find stale after what was done in the UI."""
    project = ui.project
    graph = project_defs(project).resolve_asset_graph()
    with dg.DagsterInstance.from_config(str(ui.settings.dagster_home)) as instance:
        planner = StalePlanner(graph, Versions(instance, graph, project.roots), project.lake)
        return {
            asset: [str(item.partition) for item in planner.stale(dg.AssetKey(asset.split(".")))] for asset in assets
        }


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome to draw the pages")


@needs_browser
def test_the_catalogue_lists_every_asset(ui: Ui, tmp_path: Path) -> None:
    text = drawn_text(f"{ui.url}/assets", tmp_path)
    keys = project_defs(ui.project).resolve_asset_graph().get_all_asset_keys()
    assert [key for key in keys if " / ".join(key.path) not in text] == [], text


@needs_browser
def test_the_lineage_shows_every_group_and_offers_everything_that_can_be_made(ui: Ui, tmp_path: Path) -> None:
    text = drawn_text(f"{ui.url}/asset-groups", tmp_path)
    graph = project_defs(ui.project).resolve_asset_graph()
    # A drawn group is followed by its numbers of assets by state; the sidebar has the name alone.
    assert [name for name in graph.all_group_names if not re.search(rf" {name} \d", text)] == [], text
    assert f"Materialize all ({len(graph.materializable_asset_keys)})" in text


def drawn_text(address: str, folder: Path) -> str:
    """The visible text of a page after its scripts have run."""
    flags = [*CHROMIUM_FLAGS, f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000", "--dump-dom"]
    page = subprocess.run([str(CHROMIUM), *flags, address], capture_output=True, text=True, timeout=120, check=True)
    without_code = re.sub(r"<(script|style)\b.*?</\1>", " ", page.stdout, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", without_code)))
