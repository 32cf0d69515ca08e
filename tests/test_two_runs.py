"""Two `synth run` at once over one home: they share the work, and leave behind what one run would have left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.lake import Lake
from resources.testing import Behaviour, FakeServer
from synth_assets.strategies import discover

SYNTH = Path(sys.executable).with_name("synth")
DOCUMENTS = 8
IN_FLIGHT = 4
COMMIT_BATCH = 64
OF_ONE_DOCUMENT = {
    **{f"rephrased.{strategy.name}": ("document_id", "curator_file") for strategy in discover()},
    "seed.curated_documents": ("curator_file", "row_number"),
    "merged.documents": ("merged_id",),
    "merged.multistrategy": ("document_id",),
    "metrics.perplexity": ("merged_id",),
    "metrics.judge_scores": ("merged_id",),
    "ledger.completions": ("request_key",),
    "ledger.drops": ("document_id", "curator_file", "row_number", "strategy", "stage", "reason", "detail"),
    "reports.cost": ("strategy",),
}
"""What is different in every row of each table."""


class Runs:
    """Starts `synth run --json` in one home; whatever still runs at the end is killed."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home = home
        self._environment = environment
        self._started: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(SYNTH), "run", "--json"],
            env={**os.environ, **self._environment},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._started.append(process)
        return process

    def summary(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """What a run says of itself after it has ended well."""
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        return json.loads(output)

    def stop(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()

    @property
    def lake(self) -> Lake:
        return Lake(f"sqlite:{self.home}/lake/catalog.sqlite", f"{self.home}/lake/data")


@pytest.fixture
def runs(tmp_path: Path, fake_server: FakeServer, tiny_gpt2: Path, make_article: Callable[..., Any]) -> Iterator[Runs]:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    # Document 1 is in both files: it belongs to one of them, whichever run comes first.
    for name, numbers in {"a.jsonl": range(1, 6), "b.jsonl": [1, *range(6, DOCUMENTS + 1)]}.items():
        (corpus / name).write_text("".join(json.dumps(make_article(number)) + "\n" for number in numbers))
    environment = {
        "SYNTH_HOME": str(tmp_path / "home"),
        "CURATOR_OUTPUT_DIR": str(corpus),
        "VLLM_BASE_URL": fake_server.base_url,
        "VLLM_MAX_PARALLEL_REQUESTS": str(IN_FLIGHT),
        "JUDGE_SHARE": "0.5",
        "PERPLEXITY_MODEL": str(tiny_gpt2),
        "SYNTH_MODELS": str(tmp_path / "models"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    runs = Runs(tmp_path / "home", environment)
    yield runs
    runs.stop()


def wait_for_answers(server: FakeServer, count: int, *processes: subprocess.Popen[str]) -> None:
    while server.answered_count < count:
        assert all(process.poll() is None for process in processes), "a run ended before it was to be disturbed"
        time.sleep(0.02)


def assert_nothing_doubled(lake: Lake) -> None:
    for table, columns in OF_ONE_DOCUMENT.items():
        rows = [tuple(row.values()) for row in lake.read(table, columns=columns).to_pylist()]
        assert rows, table
        assert len(rows) == len(set(rows)), f"{table} has a row twice"


def assert_nothing_lost(lake: Lake) -> None:
    for strategy in discover():
        rows = lake.read(f"rephrased.{strategy.name}")["document_id"].to_pylist()
        drops = lake.read("ledger.drops", where={"strategy": strategy.name})["document_id"].to_pylist()
        assert len(set(rows) | set(drops)) == len(rows) + len(drops) == DOCUMENTS


def assert_up_to_date(runs: Runs, server: FakeServer) -> None:
    sent = server.request_count
    third = runs.summary(runs.start())
    assert (third["requests_sent"], third["materialized"]) == (0, [])
    assert server.request_count == sent


def test_two_runs_at_once_ask_for_every_answer_once_and_double_no_row(runs, fake_server):
    fake_server.behaviour = Behaviour(latency_seconds=0.1, latency_sigma=0.5)
    first, second = [runs.summary(process) for process in [runs.start(), runs.start()]]
    bought = runs.lake.read("ledger.completions", columns=["request_key"]).num_rows
    assert fake_server.request_count == bought == first["requests_sent"] + second["requests_sent"] > 0
    assert_nothing_doubled(runs.lake)
    assert_nothing_lost(runs.lake)
    assert_up_to_date(runs, fake_server)


def test_when_one_of_two_runs_is_killed_the_other_finishes_its_work_as_well(runs, fake_server):
    fake_server.behaviour = Behaviour(latency_seconds=0.1)
    killed, survivor = runs.start(), runs.start()
    wait_for_answers(fake_server, 10, killed, survivor)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    fake_server.behaviour = Behaviour()
    assert runs.summary(survivor)["failed"] == []
    needed = runs.lake.read("ledger.completions", columns=["request_key"]).num_rows
    assert needed <= fake_server.request_count <= needed + IN_FLIGHT + COMMIT_BATCH
    assert_nothing_doubled(runs.lake)
    assert_nothing_lost(runs.lake)
    assert_up_to_date(runs, fake_server)
