"""How long `synth plan` takes from a cold start, against an import of Dagster, which it cannot do without.

Both are processes of their own that take turns; the middle of the wall times counts. A plan is made in an empty
project, and in one whose tables are made and of which nothing is stale.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
from workbench.project import Figure, model_server, report, write_corpus

LIMIT = 2.0
SYNTH = (sys.executable, "-m", "synth_assets.cli")
DOCUMENTS_PER_FILE, DOCUMENT_CHARS = 6, 1500


def seconds_of(command: Sequence[str], environment: dict[str, str]) -> float:
    """Wall time of a process; SystemExit with its last words where it fails."""
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    return seconds


def measure(what: str, environment: dict[str, str], turns: int) -> Figure:
    """The plan against the import, `turns` times each after one turn that fills the file cache."""
    importing = (sys.executable, "-c", "import dagster")
    times = [(seconds_of((*SYNTH, "plan"), environment), seconds_of(importing, environment)) for _ in range(turns + 1)][
        1:
    ]
    ours, theirs = (statistics.median(values) for values in zip(*times, strict=True))
    return Figure(
        f"cold start of `synth plan`, {what}",
        f"{ours:.2f} s",
        f"{theirs:.2f} s (python -c 'import dagster')",
        ours / theirs,
        f"within {LIMIT:.0f} times",
        ours <= LIMIT * theirs,
        f"medians of {turns} turns",
    )


@click.command()
@click.option("--turns", default=5, help="How often each is started.")
@click.option("--made/--only-empty", "has_made", default=True, help="Also a project whose tables are made.")
def main(turns: int, has_made: bool) -> None:
    """Measure an empty project, and one with nothing stale."""
    with tempfile.TemporaryDirectory() as folder, model_server(0.0) as address:
        write_corpus(Path(folder, "corpus"), 2, DOCUMENTS_PER_FILE, DOCUMENT_CHARS)
        environment = {
            **os.environ,
            "SYNTH_HOME": str(Path(folder, "home")),
            "CURATOR_OUTPUT_DIR": str(Path(folder, "corpus")),
            "VLLM_BASE_URL": f"{address}/v1",
        }
        figures = [measure("empty project", environment, turns)]
        if has_made:
            seconds_of((*SYNTH, "run"), environment)
            figures.append(measure("nothing stale", environment, turns))
    report(figures)


if __name__ == "__main__":
    main()
