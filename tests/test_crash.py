"""`kill -9` of a run at several moments: what was answered and committed is never asked for again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from resources.lake import Lake
from resources.testing import Behaviour, FakeServer
from synth_assets.strategies import discover

IN_FLIGHT = 4
COMMIT_BATCH = 64
KILL_AFTER_ANSWERS = (3, 17, 40)


def run_command(home: Path, corpus: Path, server: FakeServer) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "SYNTH_HOME": str(home),
        "CURATOR_OUTPUT_DIR": str(corpus),
        "VLLM_BASE_URL": server.base_url,
        "VLLM_MAX_PARALLEL_REQUESTS": str(IN_FLIGHT),
        "JUDGE_SHARE": "0",
        "HF_HUB_OFFLINE": "1",
    }
    synth = Path(sys.executable).with_name("synth")
    return subprocess.Popen([str(synth), "run"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_after_kill_9_only_what_was_in_flight_or_uncommitted_is_asked_again(workplace, make_article, fake_server):
    home = workplace.home
    workplace.write("a.jsonl", [make_article(number) for number in range(1, 8)])
    workplace.write("b.jsonl", [make_article(number) for number in range(8, 13)])
    fake_server.behaviour = Behaviour(latency_seconds=0.15)
    killed = 0
    for answers in KILL_AFTER_ANSWERS:
        process = run_command(home, workplace.corpus, fake_server)
        while fake_server.answered_count < answers and process.poll() is None:
            time.sleep(0.02)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed == len(KILL_AFTER_ANSWERS)

    fake_server.behaviour = Behaviour()
    workplace.environment["JUDGE_SHARE"] = "0"
    summary, _ = workplace.run()
    assert summary.failed == []
    lake = Lake(f"sqlite:{home}/lake/catalog.sqlite", f"{home}/lake/data")
    needed = lake.query("SELECT count(DISTINCT request_key) n FROM ledger.completions")["n"][0].as_py()
    assert needed <= fake_server.request_count <= needed + killed * (IN_FLIGHT + COMMIT_BATCH)

    for strategy in discover():
        rows = lake.read(f"rephrased.{strategy.name}")["document_id"].to_pylist()
        drops = lake.read("ledger.drops", where={"strategy": strategy.name})["document_id"].to_pylist()
        assert sorted([*rows, *drops]) == sorted(set(rows) | set(drops)), "a document is doubled"
        assert len(rows) + len(drops) == 12, "a document is lost"
