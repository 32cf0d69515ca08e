"""`kill -9` at random moments: what it repeats, and whether anything is lost, doubled, half written or left locked.

`python benchmarks/kills.py runs` kills `synth run`, `servers` the model server under a run, `writers` a process that
does nothing but write to the lake and the ledger while others read. `--kills` says how often, `--seed` where the
randomness begins. Without a name all three run, about 20 minutes on 2 cores. Exit code 1 when a promise is broken.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
# This program opens lakes and runs a server; it has no use for a GPU or for all the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import click  # noqa: E402
from killing.runs import kill_runs  # noqa: E402
from killing.servers import kill_servers  # noqa: E402
from killing.writers import kill_writers  # noqa: E402

VICTIMS = {"runs": (kill_runs, 50), "servers": (kill_servers, 12), "writers": (kill_writers, 60)}


@click.command()
@click.argument("victims", nargs=-1, type=click.Choice(list(VICTIMS)))
@click.option("--kills", type=click.IntRange(min=1), help="Kills of each victim; 50, 12 and 60 if not given.")
@click.option("--seed", type=int, default=1, show_default=True)
def main(victims: tuple[str, ...], kills: int | None, seed: int) -> None:
    """Kill, and report what it cost."""
    wrong: list[str] = []
    for name in victims or VICTIMS:
        kill, usual_kills = VICTIMS[name]
        click.echo(f"== {name} (seed {seed})")
        with tempfile.TemporaryDirectory(prefix="synth-kills-") as folder:
            wrong += [f"{name}: {fault}" for fault in kill(Path(folder), kills or usual_kills, seed)]
    for fault in wrong:
        click.echo(f"BROKEN: {fault}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
