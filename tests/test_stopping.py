"""Ctrl-C while a run buys or waits for a server: it ends soon, keeps what was answered, and says how to go on."""

from __future__ import annotations

import signal
import time

import pytest

from resources.testing import Behaviour, Fault

GENEROUS_SECONDS = 90
"""For a process to start or to end on a machine that does much else; in itself each takes a few seconds."""
NEEDED = 6


def wait_until(holds, process):
    end = time.monotonic() + GENEROUS_SECONDS
    while not holds():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def six_articles(workplace, make_article):
    workplace.write("a.jsonl", [make_article(number) for number in range(NEEDED)])
    workplace.environment["JUDGE_SHARE"] = "0"
    return workplace


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("moment", ["in flight", "server dead"])
def test_ctrl_c_ends_the_run_and_the_next_one_asks_for_the_rest(six_articles, start_synth, moment, times):
    server = six_articles.server
    server.behaviour = Behaviour(
        faults=(Fault("hang", containing="Station 5 "), Fault("hang", containing="Station 4 "))
    )
    process = start_synth("run", "--strategies", "distill")
    wait_until(lambda: server.answered_count == NEEDED - 2 and server.in_flight == 2, process)
    if moment == "server dead":
        server.die()
    for _ in range(times):
        process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=GENEROUS_SECONDS)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert "the same command goes on" in stderr

    if moment == "server dead":
        server.start()
    server.behaviour = Behaviour()
    before = server.request_count
    summary, _ = six_articles.run(strategies=["distill"])
    assert summary.failed == []
    if times == 1:
        assert server.request_count - before == 2
    else:
        assert 2 <= server.request_count - before <= NEEDED


def test_sigterm_ends_a_run_as_ctrl_c_does(six_articles, start_synth):
    six_articles.server.behaviour = Behaviour(faults=(Fault("hang"),))
    process = start_synth("run", "--strategies", "distill")
    wait_until(lambda: six_articles.server.in_flight == 2, process)
    process.terminate()
    _, stderr = process.communicate(timeout=GENEROUS_SECONDS)
    assert process.returncode == 130
    assert "the same command goes on" in stderr
