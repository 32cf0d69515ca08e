"""How much of each part goes into the training set: shares, a token budget, repetitions, and what falls short.

In: arithmetic over token counts of parts (the originals and each strategy). Out: which documents a cut pass takes
(`exporting.selection`), the order of rows, and files. Fractions are exact, so that the same options give the same plan.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from resources.errors import SettingError, SynthError

ORIGINAL = "original"
"""The part of real text: the seed's own documents."""

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}


@dataclass(frozen=True)
class MixOptions:
    """What a user asks of the mix. Shares and weights count tokens, not documents."""

    real_share: float | None = None
    """Share of tokens that are real text. None: what the originals have of the tokens that take part."""
    weights: Mapping[str, float] | None = None
    """Relative weights of strategies; a strategy that is not named gets none. None: all alike where there is a
    `real_share`, and else as many tokens as there are."""
    token_budget: int | None = None
    """Tokens of the whole. None: as many as the shares allow."""
    max_repeats: int = 1
    """How often one document may stand in the mix."""

    @property
    def is_everything(self) -> bool:
        """True where nothing is asked for: every document stands in the mix once."""
        return self.real_share is None and self.weights is None and self.token_budget is None


@dataclass(frozen=True)
class PartSize:
    """What there is of one part."""

    documents: int
    tokens: int


@dataclass(frozen=True)
class PartPlan:
    """One part of the mix: all of it `whole_passes` times, then documents until `rest_tokens` are reached."""

    part: str
    available: PartSize
    share: float
    target_tokens: int
    whole_passes: int
    rest_tokens: int
    shortfall_tokens: int
    """Tokens of the target that are not there, even with every repetition that is allowed."""


def plan_mix(sizes: Mapping[str, PartSize], options: MixOptions) -> tuple[PartPlan, ...]:
    """The plan of each part, originals first, then strategies by name.

    Targets sum to no more than the budget. Taking documents until a target is reached exceeds it by less than the last
    document. Raises SettingError for a weight of a part that there is not, SynthError where no strategy can fill what
    is not to be real text.
    """
    _check_names(sizes, options)
    if options.is_everything:
        total = sum(size.tokens for size in sizes.values())
        return tuple(_whole(part, size, total) for part, size in _ordered(sizes))
    shares = token_shares(sizes, options)
    total = Fraction(options.token_budget) if options.token_budget is not None else _most_tokens(sizes, shares, options)
    return tuple(
        _part(part, size, shares[part], math.floor(shares[part] * total), options.max_repeats)
        for part, size in _ordered(sizes)
        if shares.get(part)
    )


def token_shares(sizes: Mapping[str, PartSize], options: MixOptions) -> dict[str, Fraction]:
    """The share of tokens of each part; they sum to exactly 1 where there is anything to share out."""
    tokens = {part: size.tokens for part, size in sizes.items()}
    strategies = sorted(part for part in sizes if part != ORIGINAL)
    if options.real_share is None and options.weights is None:
        total = sum(tokens.values())
        return {part: Fraction(count, total) for part, count in tokens.items()} if total else {}
    given = options.weights or dict.fromkeys(strategies, 1.0)
    weights = {name: _decimal(given.get(name, 0.0)) for name in strategies}
    weight_sum = sum(weights.values())
    if options.real_share is not None:
        real = _decimal(options.real_share)
    else:
        taking_part = tokens.get(ORIGINAL, 0) + sum(tokens[name] for name in strategies if weights[name])
        real = Fraction(tokens.get(ORIGINAL, 0), taking_part) if taking_part else Fraction(0)
    if not weight_sum:
        if real != 1:
            raise SynthError(
                f"No strategy has texts for the {float(1 - real):.0%} of tokens that are not to be real text.",
                "Run `synth run` first, or ask for --real-share 1.",
            )
        return {ORIGINAL: real}
    return {ORIGINAL: real, **{name: (1 - real) * weight / weight_sum for name, weight in weights.items()}}


def crossing(sizes: Iterable[tuple[int, int]], wanted: int) -> tuple[int, int]:
    """From (key, tokens) in order: the key at which the running sum reaches `wanted`, and the sum before it.

    ValueError where the sum never gets there.
    """
    before = 0
    for key, tokens in sizes:
        if before + tokens >= wanted:
            return key, before
        before += tokens
    raise ValueError(f"{wanted} tokens are wanted and {before} are there.")


def parse_token_budget(value: str) -> int:
    """Tokens of `10M`, `1.5B`, `500k` or `2000`; raises SettingError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmb]?)", value.strip().lower())
    tokens = Fraction(match[1]) * _UNITS[match[2]] if match else Fraction(0)
    if tokens < 1:
        raise SettingError(f"--token-budget is {value!r}.", "Give a number of tokens, such as 500k, 10M or 1.5B.")
    return math.floor(tokens)


def parse_weights(value: str) -> dict[str, float]:
    """Weights by strategy of `wiki_rephrase=2,distill=1`; raises SettingError for anything else."""
    weights: dict[str, float] = {}
    for pair in filter(None, (part.strip() for part in value.split(","))):
        name, _, number = (side.strip() for side in pair.partition("="))
        try:
            weight = float(number)
        except ValueError:
            weight = -1.0
        if not name or name in weights or not 0 <= weight < math.inf:
            raise SettingError(f"--weights has {pair!r}.", "Give each strategy once, as in wiki_rephrase=2,distill=1.")
        weights[name] = weight
    if not any(weights.values()):
        raise SettingError(f"--weights is {value!r}.", "Give at least one strategy a weight above 0.")
    return weights


def _decimal(value: float) -> Fraction:
    """The number as it was written: 0.6 is six tenths, and not a little less, as in binary."""
    return Fraction(str(value))


def _check_names(sizes: Mapping[str, PartSize], options: MixOptions) -> None:
    strategies = sorted(part for part in sizes if part != ORIGINAL)
    for name in options.weights or {}:
        if name == ORIGINAL:
            raise SettingError("--weights names `original`.", "Real text has an option of its own, --real-share.")
        if name not in strategies:
            known = ", ".join(strategies) or "none yet"
            raise SettingError(f"--weights names {name!r}, which has no texts.", f"Strategies with texts: {known}.")


def _ordered(sizes: Mapping[str, PartSize]) -> list[tuple[str, PartSize]]:
    return sorted(sizes.items(), key=lambda item: (item[0] != ORIGINAL, item[0]))


def _most_tokens(sizes: Mapping[str, PartSize], shares: Mapping[str, Fraction], options: MixOptions) -> Fraction:
    """The largest mix in which every part keeps its share; nothing is repeated for its own sake, so it ends where no
    part has anything new left."""
    wholes = [sizes[part].tokens / share for part, share in shares.items() if share and part in sizes]
    filled = [Fraction(whole) for whole in wholes if whole]
    return min(min(filled) * options.max_repeats, max(filled)) if filled else Fraction(0)


def _whole(part: str, size: PartSize, total: int) -> PartPlan:
    return PartPlan(part, size, size.tokens / total if total else 0.0, size.tokens, 1, 0, 0)


def _part(part: str, size: PartSize, share: Fraction, target: int, max_repeats: int) -> PartPlan:
    most = size.tokens * max_repeats
    passes, rest = divmod(target, size.tokens) if target < most else (max_repeats, 0)
    return PartPlan(part, size, float(share), target, passes, rest, max(0, target - most))
