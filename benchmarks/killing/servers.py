"""Kills the model server under one long run, again and again; the run has to end well all the same.

In: the server as a process, when it dies and when it comes back. Out: counting requests (`killing.traffic`).
"""

from __future__ import annotations

import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import click

from killing.command import RunCommand
from killing.corpus import ChangingCorpus
from killing.tables import wrong_partitions
from resources.tiny_gpt2 import save_tiny_gpt2

IN_FLIGHT = 16
LATENCY_SECONDS, LATENCY_SIGMA = 0.12, 0.4
SERVER = """
import sys, threading
from pathlib import Path
from killing.traffic import LoggedBehaviour
from resources.testing import FakeServer
behaviour = LoggedBehaviour(float(sys.argv[2]), float(sys.argv[3]), log_file=Path(sys.argv[4]))
with FakeServer(behaviour=behaviour, port=int(sys.argv[1])):
    threading.Event().wait()
"""
"""A server that logs each request before it answers: a counter in its memory would die with it."""


def kill_servers(folder: Path, kills: int, seed: int) -> list[str]:
    """Prints the figures; what is wrong, in words."""
    rng = random.Random(seed)
    # A kill costs its down time of 1 to 3 s and the lanes' waits; 48 documents a kill keep the run busy meanwhile.
    corpus = ChangingCorpus(folder / "corpus", file_count=6, documents_per_file=max(8 * kills, 20))
    reference = save_tiny_gpt2(folder / "reference")
    log = folder / "requests.log"
    log.touch()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = _start_server(port, log)
    command = RunCommand(folder / "home", corpus.folder, f"http://127.0.0.1:{port}/v1", IN_FLIGHT, reference, 0.0)
    run = command.start()
    killed_at: list[int] = []
    try:
        while run.poll() is None and len(killed_at) < kills:
            # The next kill comes when the server has answered something again.
            if not _wait_for_requests(run, log, _line_count(log) + rng.randint(40, 160)):
                break
            server.send_signal(signal.SIGKILL)
            server.wait()
            killed_at.append(_line_count(log))
            click.echo(f"kill {len(killed_at):>3}: after {killed_at[-1]} requests")
            time.sleep(rng.uniform(1.0, 3.0))
            server = _start_server(port, log)
        exit_code = run.wait()
    finally:
        run.kill()
        server.kill()
    return _figures(folder, log, corpus, command, killed_at, kills, exit_code)


def _figures(
    folder: Path, log: Path, corpus: ChangingCorpus, command: RunCommand, killed_at: list[int], kills: int, code: int
) -> list[str]:
    requests = log.read_text().split()
    repeats: Counter[int] = Counter()
    last_sent: dict[str, int] = {}
    for place, request in enumerate(requests):
        if request in last_sent:
            # Put down to the first kill after it was last sent.
            repeats[next((kill for kill in killed_at if kill > last_sent[request]), -1)] += 1
        last_sent[request] = place
    per_kill = [repeats[kill] for kill in killed_at] or [0]
    click.echo(f"{len(killed_at)} kills of the server, {len(requests)} requests sent, {len(last_sent)} needed.")
    click.echo(f"Repeated per kill: median {statistics.median(per_kill):g}, worst {max(per_kill)}; "
               f"in flight = {IN_FLIGHT}.")  # fmt: skip
    wrong = wrong_partitions(command.home, corpus, is_final=True)
    if len(killed_at) < kills:
        wrong.append(f"the run ended after {len(killed_at)} kills: give it more documents")
    if code:
        wrong.append(f"the run ended with exit code {code}: {command.log_file.read_text()[-1000:]}")
    if max(per_kill) > IN_FLIGHT:
        wrong.append(f"{max(per_kill)} requests were repeated after a kill")
    if repeats[-1]:
        wrong.append(f"{repeats[-1]} requests were repeated without a kill")
    return wrong


def _start_server(port: int, log: Path) -> subprocess.Popen[bytes]:
    arguments = [str(port), str(LATENCY_SECONDS), str(LATENCY_SIGMA), str(log)]
    program = Path(__file__).parents[1]
    server = subprocess.Popen([sys.executable, "-c", SERVER, *arguments], cwd=program)
    while server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server
        time.sleep(0.02)
    raise click.ClickException(f"The server did not start on port {port}.")


def _wait_for_requests(run: subprocess.Popen[bytes], log: Path, count: int) -> bool:
    while run.poll() is None:
        if _line_count(log) >= count:
            return True
        time.sleep(0.005)
    return False


def _line_count(log: Path) -> int:
    return log.stat().st_size // 33
