"""`kill -9` of a process that writes to the lake and the ledger, under the eyes of a reader in another process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "kills.py"
KILLS = 12


def test_a_writer_killed_at_any_moment_leaves_whole_partitions_kept_promises_and_no_lock():
    seed = os.environ.get("SYNTH_TEST_SEED", "1")
    command = [sys.executable, str(PROGRAM), "writers", "--kills", str(KILLS), "--seed", seed]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, f"SYNTH_TEST_SEED={seed}\n{found.stdout}{found.stderr}"

    figures = re.search(r"(\d+) kills .* (\d+) promised batches .* (\d+) looks", found.stdout)
    assert figures is not None, found.stdout
    kills, promised_batches, looks = map(int, figures.groups())
    assert kills == KILLS
    # Otherwise nothing was written that a kill could have undone, or nobody looked while it was.
    assert promised_batches >= KILLS / 2
    assert looks > KILLS
