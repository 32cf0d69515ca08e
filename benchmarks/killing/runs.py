"""Kills `synth run` at random moments of its life, with files that change between the kills.

In: choosing the moment, waiting for it, adding up what it cost. Out: the tables' wholeness (`killing.tables`) and the
counting of requests (`killing.traffic`).
"""

from __future__ import annotations

import random
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from killing.command import RunCommand
from killing.corpus import ChangingCorpus
from killing.tables import answers_kept, wrong_partitions
from killing.traffic import CountedBehaviour, Traffic
from resources.testing import FakeServer
from resources.tiny_gpt2 import save_tiny_gpt2

IN_FLIGHT = 16
COMMIT_BATCH = 64
BOUND = IN_FLIGHT + COMMIT_BATCH
LATENCY_SECONDS, LATENCY_SIGMA = 0.12, 0.4
"""Log-normal: 95% of the answers take 55 to 260 ms."""
POLL_SECONDS = 0.005
STUCK_SECONDS = 300.0

Moment = tuple[str, Callable[[float], bool]]
"""How a moment is named, and whether it has come, given the seconds since the start."""


def kill_runs(folder: Path, kills: int, seed: int) -> list[str]:
    """Prints a line for each kill and the figures; what is wrong, in words."""
    rng = random.Random(seed)
    corpus = ChangingCorpus(folder / "corpus", file_count=3, documents_per_file=14)
    reference = save_tiny_gpt2(folder / "reference")
    traffic = Traffic()
    wrong: list[str] = []
    moments: dict[int, str] = {}
    lost: list[int] = []
    with FakeServer(behaviour=CountedBehaviour(LATENCY_SECONDS, LATENCY_SIGMA, traffic=traffic)) as server:
        command = RunCommand(folder / "home", corpus.folder, server.base_url, IN_FLIGHT, reference)
        life_seconds = _run_to_its_end(command, traffic)
        click.echo(f"A whole run takes {life_seconds:.1f} s and {traffic.sent} requests.")
        while len(moments) < kills:
            corpus.replace(rng.choice(corpus.names))
            traffic.begin_attempt()
            kept = answers_kept(command.home)
            name, has_come = _moment(rng, traffic, life_seconds)
            if not _kill(command, has_come):
                continue
            # Counted at once: the file may change before the next attempt, which would not ask for them again.
            lost.append(traffic.sent_in_attempt - (answers_kept(command.home) - kept))
            moments[traffic.attempt] = name
            found = wrong_partitions(command.home, corpus)
            wrong += [f"after kill {len(moments)} ({name}): {fault}" for fault in found]
            counts = f"sent {traffic.sent_in_attempt:>4}, not kept {lost[-1]:>3}"
            click.echo(f"kill {len(moments):>3}: {name:<34} {counts} {'; '.join(found)}")
        traffic.begin_attempt()
        _run_to_its_end(command, traffic)
        wrong += [f"at the end: {fault}" for fault in wrong_partitions(command.home, corpus, is_final=True)]
        sent = traffic.sent
        traffic.begin_attempt()
        _run_to_its_end(command, traffic)
        if traffic.sent != sent:
            wrong.append(f"a run after the last one sent {traffic.sent - sent} requests")
    return wrong + _figures(traffic, moments, lost)


def _figures(traffic: Traffic, moments: dict[int, str], lost: list[int]) -> list[str]:
    click.echo(f"{len(lost)} kills of `synth run`, {traffic.sent} requests sent, {traffic.distinct} different ones.")
    click.echo(f"Sent and not kept, per kill: median {statistics.median(lost):g}, mean {statistics.mean(lost):.1f}, "
               f"worst {max(lost)}; in flight + one commit batch = {BOUND}.")  # fmt: skip
    click.echo(f"All: {' '.join(map(str, sorted(lost, reverse=True)))}")
    over = [
        f"{moment}: {count} not kept" for moment, count in zip(moments.values(), lost, strict=True) if count > BOUND
    ]
    strange = sum(count for attempt, count in traffic.repeats.items() if attempt not in moments)
    return over + ([f"{strange} requests were repeated without a kill"] if strange else [])


def _moment(rng: random.Random, traffic: Traffic, life_seconds: float) -> Moment:
    (kind,) = rng.choices(["requests", "milliseconds", "life"], [4, 4, 2])
    if kind == "requests":
        count = rng.randint(1, 120)
        return f"after {count} requests", lambda _: traffic.sent_in_attempt >= count
    if kind == "milliseconds":
        seconds = rng.uniform(0.0, 3.0)
        return (
            f"{seconds * 1000:.0f} ms after the first request",
            lambda _: traffic.first_request_at is not None and time.monotonic() >= traffic.first_request_at + seconds,
        )
    at = rng.uniform(0.0, life_seconds)
    return f"{at:.1f} s after the start", lambda seconds: seconds >= at


def _kill(command: RunCommand, has_come: Callable[[float], bool]) -> bool:
    """Start a run and kill it at its moment; False when it ended before."""
    process = command.start()
    for seconds in _life(process):
        if has_come(seconds):
            process.kill()
            process.wait()
            return True
    _check_exit(process, command)
    return False


def _run_to_its_end(command: RunCommand, traffic: Traffic) -> float:
    started = time.monotonic()
    process = command.start()
    for _ in _life(process):
        pass
    _check_exit(process, command)
    return time.monotonic() - started


def _life(process: subprocess.Popen[bytes]) -> Iterator[float]:
    """Seconds since the start, over and over while the process lives."""
    started = time.monotonic()
    while process.poll() is None:
        seconds = time.monotonic() - started
        if seconds > STUCK_SECONDS:
            process.kill()
            raise click.ClickException(f"A run did not end within {STUCK_SECONDS:g} s: something holds it up.")
        yield seconds
        time.sleep(POLL_SECONDS)


def _check_exit(process: subprocess.Popen[bytes], command: RunCommand) -> None:
    if process.returncode:
        tail = command.log_file.read_text()[-2000:]
        raise click.ClickException(f"`synth run` ended with exit code {process.returncode}:\n{tail}")
