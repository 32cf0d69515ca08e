"""Runs the benchmarks one after the other and writes what they found, with the machine, into RESULTS.md.

In: which programs, and the page. Out: what is measured (each program can be run by itself, too). A program that is run
again replaces its own figures; the others keep theirs, with the day and commit they were measured at.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from workbench.machine import machine

HERE = Path(__file__).parent
FIGURES = HERE / "figures.json"
PAGE = HERE / "RESULTS.md"


@dataclass(frozen=True)
class Program:
    """One benchmark as it is run here."""

    file: str
    title: str
    options: tuple[str, ...] = ()
    is_peers: bool = False
    """Needs what `make bench-peers` installs."""
    name: str = ""
    """As it is asked for and kept; by default the file's."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.file.removesuffix(".py"))


PROGRAMS = (
    Program("throughput.py", "Rephrasing through the whole asset"),
    Program("throughput.py", "The same against vLLM", ("--only-real",), name="vllm"),
    Program("peers.py", "Beside other libraries, 50 ms", ("--turns", "3", "--only", "50 ms"), is_peers=True),
    Program(
        "peers.py", "Beside other libraries, 1 to 4 s", ("--turns", "3", "--only", "1 to 4 s"), True, "peers_waiting"
    ),
    Program("fullness.py", "The pipe over partition borders"),
    Program("reruns.py", "Reruns"),
    Program("scale.py", "Memory and linearity", ("--sizes", "10000,100000,1000000")),
    Program("ledger_lookup.py", "Looking up answers", ("--answers", "10000000")),
    Program("perplexity.py", "Perplexity"),
    Program("start_up.py", "Start-up"),
    Program("client_work.py", "The client's own work"),
    Program("measures.py", "Measures and gates"),
    Program("near_duplicates.py", "Near-duplicates and decontamination"),
    Program("plan_time.py", "Planning"),
    Program("sensor_tick.py", "The sensor"),
    Program("report_size.py", "The report"),
    Program("kills.py", "Kills"),
    Program("planted_faults.py", "The judge, judged", ("--embedded",)),
)


def run(program: Program) -> dict[str, Any]:
    """Run one program; its figures, and what has to be known about them."""
    load_before = os.getloadavg()[0]
    with tempfile.NamedTemporaryFile("r", suffix=".jsonl") as found:
        ended = subprocess.run(
            [sys.executable, str(HERE / program.file), *program.options],
            env={**os.environ, "BENCH_FIGURES": found.name},
            check=False,
        )
        figures = [json.loads(line) for line in found]
    return {
        "figures": figures,
        "command": " ".join([f"benchmarks/{program.file}", *program.options]),
        "exit_code": ended.returncode,
        "measured_at": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": _commit(),
        "machine": machine(),
        "load_before": round(load_before, 1),
    }


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=False).stdout.strip()

    is_changed = bool(git("status", "--porcelain", "--untracked-files=no"))
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if is_changed else "")


def page(results: dict[str, Any]) -> str:
    """RESULTS.md of all that was ever measured here."""
    lines = [
        "# What was measured",
        "",
        "Written by `make bench` and `make bench-peers` (`benchmarks/results.py`). Figures are what was seen, also",
        "where they fall short. What was learned on the way is in [NOTES.md](NOTES.md). A ratio is ours to the other",
        "one's, in the direction of the target. Absolute figures are those of one machine.",
        "",
    ]
    for program in PROGRAMS:
        if program.name in results and results[program.name]["figures"]:
            lines += _section(program, results[program.name])
    return "\n".join(lines)


def _section(program: Program, result: dict[str, Any]) -> list[str]:
    lines = [
        f"## {program.title}",
        "",
        f"`{result['command']}`, {result['measured_at'].replace('T', ' ').replace('+00:00', ' UTC')}, commit "
        f"{result['commit']}, {result['machine']}, load before {result['load_before']}.",
        "",
    ]
    if result["exit_code"]:
        lines += [f"The program ended with exit code {result['exit_code']}; figures may be missing.", ""]
    lines += ["| what | here | against | ratio | target | |", "| --- | --- | --- | --- | --- | --- |"]
    for figure in result["figures"]:
        ratio = "" if figure["ratio"] is None else f"{figure['ratio']:.3g}"
        verdict = {True: "reached", False: "**not reached**", None: ""}[figure["is_reached"]]
        cells = [figure["what"], figure["ours"], figure["against"], ratio, figure["target"], verdict]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    notes = [f"- {figure['what']}: {figure['note']}" for figure in result["figures"] if figure["note"]]
    return [*lines, "", *notes, *([""] if notes else [])]


def choose(only: Sequence[str], has_peers: bool) -> list[Program]:
    """The programs to run."""
    if unknown := set(only) - {program.name for program in PROGRAMS}:
        raise click.BadParameter(f"there is no benchmark {sorted(unknown)[0]!r}")
    if only:
        return [program for program in PROGRAMS if program.name in only]
    return [program for program in PROGRAMS if program.is_peers == has_peers]


@click.command()
@click.argument("only", nargs=-1)
@click.option("--peers", "has_peers", is_flag=True, help="The programs that need other libraries, and no others.")
def main(only: tuple[str, ...], has_peers: bool) -> None:
    """Run the benchmarks named (all of them without a name) and write RESULTS.md."""
    results: dict[str, Any] = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    failed = []
    for program in choose(only, has_peers):
        click.echo(f"bench: {program.file} {' '.join(program.options)} ({platform.node()})")
        result = run(program)
        results[program.name] = result
        # After each one: what was measured stays when a later one is broken off.
        FIGURES.write_text(json.dumps(results, indent=1) + "\n")
        PAGE.write_text(page(results))
        if result["exit_code"]:
            failed.append(program.name)
    click.echo(f"bench: written to {PAGE}")
    if failed:
        raise SystemExit(f"bench: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
