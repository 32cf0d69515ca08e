"""The program that tries a judge: against a server over HTTP, as a user starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from synth_assets.core.planted_faults import FAULT_KINDS

REPOSITORY = Path(__file__).parents[2]


def try_judge(tmp_path: Path, base_url: str, reference: Path) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, REPOSITORY / "benchmarks" / "planted_faults.py"]
    return subprocess.run(
        [*program, "--per-kind", "2", "--repeated", "1", "--json", tmp_path / "found.json"],
        env={
            **os.environ,
            "SYNTH_HOME": str(tmp_path / "home"),
            "JUDGE_BASE_URL": base_url,
            "PERPLEXITY_MODEL": str(reference),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_judge_is_tried_once_and_never_paid_again(tmp_path, fake_server, tiny_gpt2):
    done = try_judge(tmp_path, fake_server.base_url, tiny_gpt2)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["cases"] == 2 * len(FAULT_KINDS)
    # Every case, the unharmed passages, and of one passage two more draws at 0 and three at 0.7.
    assert found["judge"]["questions"] >= 12 + 2 + 5
    assert found["judge"]["verdicts"] == found["judge"]["requests_sent"] == found["judge"]["questions"]
    for row in found["judge"]["detections"]:
        assert row["case_count"] == row["detected_count"] + row["tie_count"] + row["wrong_way_count"] == 2
    noticed = {row["kind"] for row in found["measures"] if row["detected_count"] == 2}
    assert noticed == set(FAULT_KINDS)
    assert {row["kind"] for row in found["source_support"]} == set(FAULT_KINDS)
    assert "filler noticed by information_density" in done.stdout

    assert try_judge(tmp_path, fake_server.base_url, tiny_gpt2).returncode == 0
    again = json.loads((tmp_path / "found.json").read_text())
    assert again["judge"] == {**found["judge"], "requests_sent": 0}


def test_without_a_server_it_says_so_and_nothing_else(tmp_path, tiny_gpt2):
    done = try_judge(tmp_path, "http://127.0.0.1:1/v1", tiny_gpt2)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "127.0.0.1:1" in done.stderr
