"""Temporary folders of processes that live, end and are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

PROGRAM = """
import sys
from resources.scratch import scratch_folder
print(scratch_folder("probe"), flush=True)
sys.stdin.read()
"""


def start(tmp_path):
    """A process with a scratch folder in `tmp_path`, and that folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return process, tmp_path / process.stdout.readline().strip()


def test_a_process_that_ends_leaves_nothing(tmp_path):
    process, folder = start(tmp_path)
    assert folder.is_dir()
    process.communicate()
    assert list(tmp_path.iterdir()) == []


def test_a_new_process_removes_what_a_killed_one_left_and_nothing_else(tmp_path):
    (tmp_path / "synth-by-hand").mkdir()
    living, living_folder = start(tmp_path)
    killed, killed_folder = start(tmp_path)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed_folder.is_dir()

    new, _ = start(tmp_path)
    assert not killed_folder.parent.exists()
    assert living_folder.is_dir()
    new.communicate()
    living.communicate()
    assert [path.name for path in tmp_path.iterdir()] == ["synth-by-hand"]
