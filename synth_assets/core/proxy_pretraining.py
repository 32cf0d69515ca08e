"""Which text a small model learns most from: equal budgets of originals, of each strategy, and of the mix.

In: the arms, their training for several seeds, and what the figures say beside their noise. Out: the model
(`proxy_model`) and where the texts come from (`assets.experiments`).

It is a miniature: bits per byte of a model of a million parameters rank sources by how soon they teach to spell and to
follow real prose. What a large model knows after a large budget is another question.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean, stdev

import numpy as np

from synth_assets.core.proxy_model import ProxyConfig, bits_per_byte, new_model, parameter_count, train
from synth_assets.core.proxy_text import Ids, byte_count, windows

MIX = "mix"
"""The arm that takes half of its windows from the originals and the rest, in equal parts, from the strategies."""
REAL_SHARE = 0.5

LIMITS = (
    "A model of this size learns spelling, syntax and common words; it says nothing about knowledge, reasoning or a "
    "large budget. An arm that repeats its text (epochs over 4) is held back by the amount of text, not by its kind. "
    "A difference of less than twice the noise is none."
)
"""What stands below each table of results."""


@dataclass(frozen=True)
class Arm:
    """One way to spend the budget: windows drawn from each source, by name."""

    name: str
    window_counts: Mapping[str, int]


@dataclass(frozen=True)
class ArmResult:
    """One training; also a row of `experiments.proxy_pretraining`."""

    arm: str
    seed: int
    bits_per_byte: float
    train_bytes: int
    unique_train_bytes: int
    epochs: float
    """How often the text was seen on average; of a mix, the mean over what was drawn."""
    steps: int
    parameter_count: int
    device: str
    wall_seconds: float
    held_out_bytes: int


def arms(sources: Sequence[str], original: str, config: ProxyConfig) -> list[Arm]:
    """Each source by itself, then the mix where there is something to mix; all of `config.window_count` windows."""
    count = config.window_count
    found = [Arm(name, {name: count}) for name in sources]
    rephrased = [name for name in sources if name != original]
    if original in sources and rephrased:
        real = round(REAL_SHARE * count)
        share, extra = divmod(count - real, len(rephrased))
        counts = {name: share + (place < extra) for place, name in enumerate(rephrased)}
        found.append(Arm(MIX, {original: real, **counts}))
    return found


def run_arms(
    sources: Mapping[str, Ids],
    original: str,
    held_out: Ids,
    config: ProxyConfig,
    seeds: Sequence[int],
    device: str,
    on_result: Callable[[ArmResult], None] = lambda result: None,
) -> list[ArmResult]:
    """Train every arm for every seed and measure it on the held-out text.

    `sources` are packed texts by name. Arms of one seed begin with the same weights. On a CPU the figures are the same
    each time; on a GPU they differ in their last digits.
    """
    results = []
    for seed in seeds:
        for arm in arms(list(sources), original, config):
            result = _trained(arm, sources, held_out, config, seed, device)
            on_result(result)
            results.append(result)
    return results


def _trained(
    arm: Arm, sources: Mapping[str, Ids], held_out: Ids, config: ProxyConfig, seed: int, device: str
) -> ArmResult:
    started = time.monotonic()
    model = new_model(config, seed, device)
    train(model, config, drawn_windows(arm, sources, config, seed))
    bits = bits_per_byte(model, held_out, config.context_bytes)
    # The text of a source is not seen beyond what its windows hold.
    seen = [
        min(byte_count(sources[name]), count * config.context_bytes)
        for name, count in arm.window_counts.items()
        if count
    ]
    return ArmResult(
        arm.name,
        seed,
        bits,
        config.train_bytes,
        sum(seen),
        config.train_bytes / sum(seen),
        config.steps,
        parameter_count(model),
        device,
        time.monotonic() - started,
        byte_count(held_out),
    )


def drawn_windows(arm: Arm, sources: Mapping[str, Ids], config: ProxyConfig, seed: int) -> Iterator[Ids]:
    """The arm's windows, those of several sources in an order that the seed draws."""
    drawn = {
        name: windows(sources[name], count, config.context_bytes, seed) for name, count in arm.window_counts.items()
    }
    turns = list(chain.from_iterable([name] * count for name, count in arm.window_counts.items()))
    for place in np.random.default_rng(seed).permutation(len(turns)):
        yield next(drawn[turns[place]])


@dataclass(frozen=True)
class ArmSummary:
    """One arm over its seeds. `deviation` is the standard deviation over seeds, None with one seed."""

    arm: str
    mean: float
    deviation: float | None
    difference: float
    """To the originals; below 0 is better."""
    difference_in_noise: float | None
    """The same divided by the noise; None where there is no noise to divide by."""
    unique_train_bytes: int
    epochs: float


def summaries(results: Sequence[ArmResult], original: str) -> list[ArmSummary]:
    """Means, and differences to the originals in units of the noise, in the order of the results.

    The noise of a difference is the square root of the sum of both arms' variances over seeds.
    """
    by_arm: dict[str, list[ArmResult]] = {}
    for result in results:
        by_arm.setdefault(result.arm, []).append(result)
    bits = {arm: [row.bits_per_byte for row in rows] for arm, rows in by_arm.items()}
    variances = {arm: stdev(values) ** 2 for arm, values in bits.items() if len(values) > 1}
    found = []
    for arm, rows in by_arm.items():
        difference = fmean(bits[arm]) - fmean(bits[original])
        noise = (variances[arm] + variances[original]) ** 0.5 if {arm, original} <= variances.keys() else 0.0
        found.append(
            ArmSummary(
                arm,
                fmean(bits[arm]),
                variances[arm] ** 0.5 if arm in variances else None,
                difference,
                difference / noise if noise and arm != original else None,
                rows[0].unique_train_bytes,
                rows[0].epochs,
            )
        )
    return found


def markdown_table(results: Sequence[ArmResult], original: str) -> str:
    """The summaries as a Markdown table, with what they can and cannot tell below it."""
    first = results[0]
    lines = [
        "| arm | bits per byte | to originals | in units of the noise | text, bytes | epochs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in summaries(results, original):
        deviation = "" if row.deviation is None else f" ± {row.deviation:.4f}"
        noise = "" if row.difference_in_noise is None else f"{row.difference_in_noise:+.1f}"
        difference = "" if row.arm == original else f"{row.difference:+.4f}"
        lines.append(
            f"| {row.arm} | {row.mean:.4f}{deviation} | {difference} | {noise} | {row.unique_train_bytes:,} "
            f"| {row.epochs:.1f} |"
        )
    seeds = len({result.seed for result in results})
    about = (
        f"{first.parameter_count:,} parameters, {first.steps} steps, {first.train_bytes:,} bytes for each arm, "
        f"{seeds} seed{'s' if seeds != 1 else ''}, measured on {first.held_out_bytes:,} bytes of originals that no arm "
        f"has seen, on {first.device}."
    )
    return "\n".join([*lines, "", about, "", LIMITS, ""])
