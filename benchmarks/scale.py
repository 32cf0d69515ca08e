"""Memory and pace as the corpus grows: seed, one strategy and the merged set, short documents, an instant server.

Each size is a process of its own. Its memory is the greatest sum of the resident memory of it and of the processes it
starts; the model server is not among them. Perplexity and judge are left out: they are measured by themselves.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import dagster as dg
import psutil
from workbench.project import Bench, Figure, model_server, report, write_corpus

STRATEGY = "distill"
ASSETS = ("seed.curated_documents", f"rephrased.{STRATEGY}", "merged.documents", "merged.multistrategy")
SECONDS_BETWEEN_LOOKS = 0.2


def run_once(folder: Path, address: str) -> None:
    """Make every table of the corpus in the folder; prints the seconds of each asset."""
    with dg.DagsterInstance.ephemeral(tempdir=str(folder)) as instance:
        bench = Bench(folder / "home", folder / "corpus", address, instance)
        for asset in ASSETS:
            started = time.perf_counter()
            bench.run([asset], [STRATEGY])
            print(f"{asset} {time.perf_counter() - started:.3f}", flush=True)


def resident_bytes(process: psutil.Process) -> int:
    """Resident memory of a process and of all that it has started; 0 when it has ended."""
    total = 0
    try:
        for member in [process, *process.children(recursive=True)]:
            total += member.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def measure(document_count: int, files: int, chars: int, address: str) -> tuple[float, int, dict[str, float]]:
    """Seconds in all, peak memory in bytes, and seconds by asset of one size."""
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder, "corpus"), files, document_count // files, chars)
        command = [sys.executable, __file__, "--child", folder, address]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            try:
                watched = psutil.Process(child.pid)
                peak = 0
                while child.poll() is None:
                    peak = max(peak, resident_bytes(watched))
                    time.sleep(SECONDS_BETWEEN_LOOKS)
            finally:
                child.kill()
            if child.returncode or child.stdout is None:
                raise SystemExit(f"the run over {document_count} documents failed")
            by_asset = {name: float(seconds) for name, seconds in map(str.split, child.stdout)}
    return sum(by_asset.values()), peak, by_asset


@click.command()
@click.option("--sizes", default="10000,30000", help="Numbers of documents, the first one is what counts as 1.")
@click.option("--documents-per-file", default=10_000, help="0: all of them in one file.")
@click.option("--chars", default=300, help="Characters of a document.")
@click.option("--child", nargs=2, hidden=True, help="Folder and server of the process that is measured.")
def main(sizes: str, documents_per_file: int, chars: int, child: tuple[str, str] | None) -> None:
    """Measure every size."""
    if child:
        run_once(Path(child[0]), child[1])
        return
    numbers = [int(size) for size in sizes.split(",")]
    with model_server(0.0) as address:
        found = {
            count: measure(count, -(-count // documents_per_file) if documents_per_file else 1, chars, address)
            for count in numbers
        }
    first_seconds, first_peak, first_assets = found[numbers[0]]
    for count in numbers[1:]:
        seconds, peak, by_asset = found[count]
        paces = {name: (count / own) / (numbers[0] / first_assets[name]) for name, own in by_asset.items() if own > 0}
        slowest = min(paces, key=lambda name: paces[name])
        pace = (count / seconds) / (numbers[0] / first_seconds)
        report(
            [
                Figure(
                    f"peak memory at {count:,} short documents",
                    f"{peak / 2**20:.0f} MiB",
                    f"{first_peak / 2**20:.0f} MiB at {numbers[0]:,}",
                    peak / first_peak,
                    "at most 1.3",
                    peak <= 1.3 * first_peak,
                    "process tree without the server",
                ),
                Figure(
                    f"documents/s at {count:,}",
                    f"{count / seconds:.0f}",
                    f"{numbers[0] / first_seconds:.0f} at {numbers[0]:,}",
                    pace,
                    "at least 0.9",
                    pace >= 0.9,
                    f"{slowest} is first to fall behind, at {paces[slowest]:.2f} of its pace",
                ),
            ]
        )


if __name__ == "__main__":
    main()
