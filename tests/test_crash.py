"""`kill -9` of a run at random moments: it repeats what was in flight or uncommitted, and leaves everything whole."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import random
import runpy
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from resources.lake import Lake
from resources.testing import Behaviour
from synth_assets.core.curator_row import document_id
from synth_assets.dagster_home import open_instance

PROGRAM = Path(__file__).with_name("killed_run.py")
STRATEGIES = ("distill", "diverse_qa")
KILLS = 5
IN_FLIGHT = 8
COMMIT_BATCH = 64
LATENCY_SECONDS = 0.05
DOCUMENTS_PER_FILE = 5
UNFINISHED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


@dataclass
class Victims:
    """Runs to be killed: forked from a server that has imported everything, since imports take longer than a run."""

    environment: dict[str, str]
    strategies: tuple[str, ...]
    context: Any = field(default_factory=lambda: multiprocessing.get_context("forkserver"))

    def __post_init__(self) -> None:
        self.context.set_forkserver_preload(
            ["synth_assets.definitions", "synth_assets.core.perplexity", "data_designer.interface"]
        )

    def start(self) -> BaseProcess:
        settings = {"environment": self.environment, "strategies": self.strategies}
        process = self.context.Process(target=runpy.run_path, args=(str(PROGRAM), settings), daemon=True)
        process.start()
        return process

    def run_to_the_end(self) -> float:
        """How long a run takes."""
        started = time.monotonic()
        process = self.start()
        process.join()
        assert process.exitcode == 0
        return time.monotonic() - started

    def killed_after(self, seconds: float) -> bool:
        """True when the run was killed, False when it had ended before."""
        process = self.start()
        process.join(seconds)
        process.kill()
        process.join()
        assert process.exitcode in (0, -9)
        return process.exitcode != 0


@pytest.fixture
def victims(workplace, monkeypatch) -> Victims:
    # As the generator sets them before its first import, which the fork server does in its stead.
    monkeypatch.setenv("DATA_DESIGNER_HOME", str(workplace.home.parent / "data_designer"))
    monkeypatch.setenv("NEMO_TELEMETRY_ENABLED", "false")
    return Victims(
        {
            "SYNTH_HOME": str(workplace.home),
            "CURATOR_OUTPUT_DIR": str(workplace.corpus),
            "VLLM_BASE_URL": workplace.server.base_url,
            "VLLM_MAX_PARALLEL_REQUESTS": str(IN_FLIGHT),
            "JUDGE_SHARE": "0.2",
        },
        STRATEGIES,
    )


@dataclass
class Traffic:
    """What each attempt has sent in vain: requests that had to be sent again."""

    attempt: int = 0
    repeats: Counter[int] = field(default_factory=Counter)
    last_sender: dict[str, int] = field(default_factory=dict)

    def saw(self, request: str) -> None:
        if request in self.last_sender:
            self.repeats[self.last_sender[request]] += 1
        self.last_sender[request] = self.attempt


@dataclass(frozen=True)
class Watched(Behaviour):
    traffic: Traffic = field(default_factory=Traffic)

    def latency_of(self, body: Mapping[str, Any]) -> float:
        self.traffic.saw(json.dumps(body, sort_keys=True))
        return super().latency_of(body)


@dataclass
class Corpus:
    """Two files, and the document identities of every version that they have had."""

    workplace: Any
    make_article: Any
    written: int = 0
    versions: dict[str, list[frozenset[str]]] = field(default_factory=lambda: {"a.jsonl": [], "b.jsonl": []})

    def replace(self, name: str) -> None:
        articles = [self.make_article(self.written + number) for number in range(DOCUMENTS_PER_FILE)]
        self.written += DOCUMENTS_PER_FILE
        self.versions[name].append(frozenset(document_id(article["title"], article["text"]) for article in articles))
        self.workplace.write(name, articles)


def test_after_kill_9_only_what_was_in_flight_or_uncommitted_is_asked_again_and_all_is_whole(
    workplace, make_article, fake_server, victims
):
    seed = int(os.environ.get("SYNTH_TEST_SEED", "1"))
    print(f"SYNTH_TEST_SEED={seed}")
    rng = random.Random(seed)
    traffic = Traffic()
    fake_server.behaviour = Watched(LATENCY_SECONDS, traffic=traffic)
    corpus = Corpus(workplace, make_article)
    for name in corpus.versions:
        corpus.replace(name)
    life_seconds = victims.run_to_the_end()
    assert wrong_partitions(workplace.lake, corpus, is_final=True) == []

    killed: list[int] = []
    while len(killed) < KILLS:
        corpus.replace(rng.choice(["a.jsonl", "b.jsonl"]))
        traffic.attempt += 1
        moment = rng.uniform(0.0, life_seconds)
        if victims.killed_after(moment):
            killed.append(traffic.attempt)
        assert wrong_partitions(workplace.lake, corpus) == [], f"killed after {moment:.2f} s"

    traffic.attempt += 1
    victims.run_to_the_end()
    assert wrong_partitions(workplace.lake, corpus, is_final=True) == []
    assert set(traffic.repeats) <= set(killed), "requests are repeated after a run that was not killed"
    assert max(traffic.repeats.values(), default=0) <= IN_FLIGHT + COMMIT_BATCH, traffic.repeats
    sent = fake_server.request_count
    victims.run_to_the_end()
    assert fake_server.request_count == sent
    assert_nothing_is_held(workplace.home)


def wrong_partitions(lake: Lake, corpus: Corpus, is_final: bool = False) -> list[str]:
    """Every partition is exactly one version of its file, whether it was replaced before the kill or not."""
    lake.close()
    by_file: dict[str, dict[str, list[str]]] = {}
    for strategy in STRATEGIES:
        outcomes = (
            f"SELECT curator_file, document_id FROM rephrased.{strategy} UNION ALL "
            f"SELECT curator_file, document_id FROM ledger.drops WHERE strategy = '{strategy}'"
        )
        by_file[strategy] = found_documents(lake, outcomes)
    for table in ("merged.documents", "metrics.perplexity"):
        originals = f"SELECT curator_file, document_id FROM {table} WHERE strategy = 'original'"
        by_file[table] = found_documents(lake, originals)
    by_file["seed"] = found_documents(lake, "SELECT curator_file, document_id FROM seed.curated_documents")
    return [
        f"{what}, {name}: {sorted(found)}"
        for what, files in by_file.items()
        for name, versions in corpus.versions.items()
        for found in [files.get(name, [])]
        if len(found) != DOCUMENTS_PER_FILE
        or (frozenset(found) not in versions[-1:] if is_final else frozenset(found) not in versions)
    ]


def found_documents(lake: Lake, sql: str) -> dict[str, list[str]]:
    return {row["curator_file"]: row["documents"] for row in lake.query(
        f"SELECT curator_file, list(document_id) AS documents FROM ({sql}) GROUP BY 1"
    ).to_pylist()}  # fmt: skip


def assert_nothing_is_held(home: Path) -> None:
    """No run is in progress for ever, no pool's slot is taken, no file is locked."""
    with open_instance(home / "dagster") as instance:
        assert instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)) == []
        storage = instance.event_log_storage
        claimed = {key: storage.get_concurrency_info(key).claimed_slots for key in storage.get_concurrency_keys()}
        assert claimed == {}
    for lock in [home / "lake" / "catalog.sqlite.lock", *(home / "dagster" / "processes").glob("*.lock")]:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
