"""How long it takes to find bought answers: many keys at once, and a partition's worth, in a ledger of any size.

Half of the keys have an answer. `--answers 10000000` needs about 1 GB of disk and a minute to be filled.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence

import click
from workbench.ledgers import fill_with_numbers, numbered_key
from workbench.project import Figure, report

from resources.lake import Lake
from resources.ledger import Ledger

KEYS_PER_LOOKUP = 4096
TURNS = 3


def best_seconds(look_up: Callable[[Sequence[str]], object], keys: Sequence[str]) -> float:
    """Seconds of the fastest of a few turns."""
    found = []
    for _ in range(TURNS):
        started = time.perf_counter()
        look_up(keys)
        found.append(time.perf_counter() - started)
    return min(found)


@click.command()
@click.option("--answers", "answer_count", default=1_000_000, help="Answers in the ledger.")
@click.option("--keys", "key_count", default=100_000, help="Keys that are looked up at once.")
def main(answer_count: int, key_count: int) -> None:
    """Fill a ledger in a temporary folder and look things up."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(f"sqlite:{folder}/catalog.sqlite", f"{folder}/data")
        ledger = Ledger(lake)
        fill_with_numbers(lake, answer_count)
        middle = answer_count // 2
        for count in (key_count, KEYS_PER_LOOKUP):
            bought = [numbered_key(number) for number in range(middle, middle + count // 2)]
            keys = [*bought, *(f"unknown-{number}" for number in range(count - count // 2))]
            if ledger.known_keys(keys) != set(bought):
                raise SystemExit("a look-up found other keys than were bought")
            for what, look_up in (("known or not", ledger.known_keys), ("with their answers", ledger.fetch)):
                seconds = best_seconds(look_up, keys)
                report(
                    [
                        Figure(
                            f"ledger look-up of {count:,} keys among {answer_count:,}, {what}",
                            f"{seconds:.2f} s",
                            "-",
                            None,
                            "stated",
                            None,
                            f"{seconds / count * 1e6:.0f} µs a key; half of the keys are known; best of {TURNS}",
                        )
                    ]
                )
        lake.close()


if __name__ == "__main__":
    main()
