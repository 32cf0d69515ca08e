"""Memory and pace as the corpus grows: seed, one strategy and the merged set, short documents, an instant server.

Each size is a process of its own, the server another one. Perplexity and judge are left out: they are measured by
themselves. Documents are as short as documents can be that are rephrased at all; answers are as long as they are.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import dagster as dg
import psutil
from workbench.project import Bench, Figure, model_server, report, stats, write_corpus

from resources.lake import Lake

STRATEGY = "distill"
ASSETS = ("seed.curated_documents", f"rephrased.{STRATEGY}", "merged.documents", "merged.multistrategy")
SECONDS_BETWEEN_LOOKS = 0.05
IN_FLIGHT = 256
"""As for an 8-GPU node: ledger commits, which take 30 ms whatever they hold, are as large as the pipe."""


@dataclass(frozen=True)
class Stage:
    """What one asset took; memory is the most that was resident in that time, in the run's process and its children."""

    asset: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    end_bytes: int


@dataclass(frozen=True)
class Run:
    """The stages of one size, in order."""

    document_count: int
    stages: Sequence[Stage]

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all stages, all threads."""
        return sum(stage.cpu_seconds for stage in self.stages)

    @property
    def peak_bytes(self) -> int:
        """The most memory that was ever resident."""
        return max(stage.peak_bytes for stage in self.stages)


class PeakWatch:
    """Looks at the resident memory of this process and all that it has started, on a thread of its own."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._peak_bytes = 0
        threading.Thread(target=self._look, daemon=True).start()

    def take(self) -> tuple[int, int]:
        """The most since the last call, and what it is now, in bytes."""
        now = self._resident_bytes()
        peak_bytes, self._peak_bytes = max(self._peak_bytes, now), 0
        return peak_bytes, now

    def _look(self) -> None:
        while True:
            self._peak_bytes = max(self._peak_bytes, self._resident_bytes())
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _resident_bytes(self) -> int:
        total = self._process.memory_info().rss
        for child in self._process.children(recursive=True):
            try:
                total += child.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total


def run_once(folder: Path, address: str) -> None:
    """Make every table of the corpus; prints what each asset took, and at the end the number of merged documents."""
    watch = PeakWatch()
    lake: Lake | None = None
    with dg.DagsterInstance.ephemeral(tempdir=str(folder)) as instance:
        bench = Bench(folder / "home", folder / "corpus", address, instance, IN_FLIGHT)
        for asset in ASSETS:
            watch.take()
            started, cpu_started = time.perf_counter(), time.process_time()
            lake = bench.run([asset], [STRATEGY])[1].lake
            seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
            print(json.dumps(asdict(Stage(asset, seconds, cpu_seconds, *watch.take()))), flush=True)
    if lake is not None:
        print(lake.query("SELECT count(*) AS n FROM merged.documents")["n"][0].as_py(), flush=True)


def measure(document_count: int, files: int, chars: int, address: str) -> Run:
    """Run one size in a process of its own, telling each stage as it ends."""
    stages = []
    stats(address)
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder, "corpus"), files, document_count // files, chars)
        command = [sys.executable, __file__, "--child", folder, address]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            try:
                for _ in ASSETS:
                    stage = Stage(**json.loads(child.stdout.readline() or "{}"))
                    stages.append(stage)
                    click.echo(f"  {document_count:,} in {files}: {_shown(stage, document_count)}")
                merged_count = int(child.stdout.readline())
            finally:
                child.kill()
    # Else documents were dropped on the way, and what was measured is less work than it says.
    if merged_count != 2 * document_count or stats(address)["requests"] != document_count:
        raise SystemExit(f"{merged_count} merged documents of {document_count}: each is to be rephrased.")
    return Run(document_count, stages)


def _shown(stage: Stage, document_count: int) -> str:
    per_document = 1000 / document_count
    return (
        f"{stage.asset} {stage.seconds:.1f} s = {stage.seconds * per_document:.3f} ms a document, "
        f"{stage.cpu_seconds * per_document:.3f} of it processor time, peak {stage.peak_bytes / 2**20:.0f} MiB, "
        f"{stage.end_bytes / 2**20:.0f} at its end"
    )


def slope(documents: Sequence[int], seconds: Sequence[float]) -> float:
    """Of log(seconds) over log(documents), least squares: 1 is linear, more grows faster."""
    xs, ys = [math.log(count) for count in documents], [math.log(second) for second in seconds]
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - x_mean) ** 2 for x in xs)
    return sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread


def figures(first: Run, run: Run) -> list[Figure]:
    """What a size came to against the first one."""
    count = run.document_count
    pace = (count / run.seconds) / (first.document_count / first.seconds)
    by_stage = {
        stage.asset: slope([first.document_count, count], [before.seconds, stage.seconds])
        for before, stage in zip(first.stages, run.stages, strict=True)
    }
    steepest = max(by_stage, key=lambda asset: by_stage[asset])
    largest = max(run.stages, key=lambda stage: stage.peak_bytes)
    return [
        Figure(
            f"peak memory at {count:,} short documents",
            f"{run.peak_bytes / 2**20:.0f} MiB",
            f"{first.peak_bytes / 2**20:.0f} MiB at {first.document_count:,}",
            run.peak_bytes / first.peak_bytes,
            "at most 1.3",
            run.peak_bytes <= 1.3 * first.peak_bytes,
            f"the run's process and the one that sends, without the server; the most in {largest.asset}",
        ),
        Figure(
            f"documents/s at {count:,}",
            f"{count / run.seconds:.0f}",
            f"{first.document_count / first.seconds:.0f} at {first.document_count:,}",
            pace,
            "at least 0.9",
            pace >= 0.9,
            f"{1000 * run.cpu_seconds / count:.2f} ms of processor time a document in the run's own process; "
            + "; ".join(_shown(stage, count) for stage in run.stages),
        ),
        Figure(
            f"slope of log(seconds) over log(documents), {first.document_count:,} to {count:,}",
            f"{slope([first.document_count, count], [first.seconds, run.seconds]):.3f}",
            "1 is linear",
            None,
            "stated",
            None,
            f"steepest: {steepest}, {by_stage[steepest]:.3f}; start-up, about 1 s an asset, makes small sizes slow",
        ),
    ]


@click.command()
@click.option("--sizes", default="10000,30000", help="Numbers of documents, the first one is what counts as 1.")
@click.option("--documents-per-file", default=10_000, help="0: all of them in one file.")
@click.option("--chars", default=600, help="Characters of a document; under 500 it is a stub and not rephrased.")
@click.option("--child", nargs=2, hidden=True, help="Folder and server of the process that is measured.")
def main(sizes: str, documents_per_file: int, chars: int, child: tuple[str, str] | None) -> None:
    """Measure every size."""
    if child:
        run_once(Path(child[0]), child[1])
        return
    runs: list[Run] = []
    with model_server(0.0, answer_chars=chars) as address:
        for count in map(int, sizes.split(",")):
            files = -(-count // documents_per_file) if documents_per_file else 1
            runs.append(measure(count, files, chars, address))
            if len(runs) > 1:
                report(figures(runs[0], runs[-1]))
    if len(runs) > 2:
        overall = slope([run.document_count for run in runs], [run.seconds for run in runs])
        sizes_shown = ", ".join(f"{run.document_count:,}" for run in runs)
        report(
            [
                Figure(
                    f"slope of log(seconds) over log(documents), {sizes_shown}",
                    f"{overall:.3f}",
                    "1 is linear",
                    None,
                    "stated",
                    None,
                )
            ]
        )


if __name__ == "__main__":
    main()
