"""What to set a model server to: requests in flight, replicas or tensor parallel, and what limits it now.

In: sentences and figures from measured rates and the roofline. Out: measuring (`serving.baseline`), the roofline itself
(`roofline`, `throughput`), and where the rates of client and ledger come from (`scaling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resources.errors import SettingError
from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.cost import DEFAULT_CONCURRENCY
from synth_assets.core.gpu_split import possible_splits
from synth_assets.core.hardware import Hardware
from synth_assets.core.roofline import MEMORY_UTILIZATION, memory_bytes
from synth_assets.core.scaling import CLIENT_REQUESTS_PER_SECOND, LEDGER_ROWS_PER_SECOND
from synth_assets.core.throughput import LimitKind, throughput_estimate

KNEE_SHARE = 0.95
"""From this share of the best rate on, more in flight only make each answer wait: repeated measurements of one level
differ by about as much."""

LEAST_EXPECTED_SHARE = 0.5
"""Below it the roofline does not explain a measured rate: against public figures it errs by a third (`throughput`)."""

CONCURRENCY_SETTING = "VLLM_MAX_PARALLEL_REQUESTS"
ADDRESS_SETTING = "VLLM_BASE_URL"


@dataclass(frozen=True)
class MeasuredRate:
    """One level of `serving.baseline`, of one server; tokens are means of a request."""

    concurrency: int
    tokens_per_second: float
    prompt_tokens: float
    completion_tokens: float


@dataclass(frozen=True)
class RequestShape:
    """Mean tokens of the requests that the server is used for; a baseline's own are shorter."""

    prompt_tokens: float
    completion_tokens: float


@dataclass(frozen=True)
class ServerSettings:
    """What is set now: requests in flight for each server, and how many servers there are."""

    max_parallel_requests: int = DEFAULT_CONCURRENCY
    servers: int = 1


@dataclass(frozen=True)
class Layout:
    """How to divide the GPUs: `replicas` servers of `tensor_parallel` GPUs each."""

    replicas: int
    tensor_parallel: int
    max_sequences: int
    """Sequences of the requests' full length that one replica holds beside the weights."""
    tokens_per_second: float
    """Output rate of all replicas together that the roofline expects."""


@dataclass(frozen=True)
class ServingAdvice:
    """Figures for programs, sentences for people. `limit` is a word or two; `setting` is empty where none changes."""

    model: str
    hardware: str
    concurrency: int
    """The least number in flight, for each server, that reaches 95% of the best measured rate."""
    tokens_per_second: float
    has_leveled_off: bool
    """False: the rate still grew at the highest level measured."""
    layout: Layout | None
    """None: the model does not fit the hardware."""
    limit: str
    setting: str
    sentences: tuple[str, ...]


def advise(
    arch: ModelArchitecture,
    hardware: Hardware,
    measured: Sequence[MeasuredRate],
    shape: RequestShape,
    current: ServerSettings,
) -> ServingAdvice:
    """Advice from at least one measured level of one server; ValueError without.

    The measured server is taken to have its share of the hardware's GPUs: all of them, divided by the servers.
    """
    levels = sorted(measured, key=lambda level: level.concurrency)
    best = max(level.tokens_per_second for level in levels)
    knee = next(level for level in levels if level.tokens_per_second >= KNEE_SHARE * best)
    has_leveled_off = knee is not levels[-1]
    concurrency_words, setting = _concurrency(levels, knee, has_leveled_off, current)
    layout = serving_layout(arch, hardware, knee.concurrency, shape)
    limit, limit_words = _limit(arch, hardware, knee, shape, current)
    return ServingAdvice(
        model=arch.name,
        hardware=hardware.name,
        concurrency=knee.concurrency,
        tokens_per_second=knee.tokens_per_second,
        has_leveled_off=has_leveled_off,
        layout=layout,
        limit=limit,
        setting=setting,
        sentences=(concurrency_words, _layout_words(arch, hardware, knee, shape, layout), limit_words),
    )


def serving_layout(arch: ModelArchitecture, hardware: Hardware, concurrency: int, shape: RequestShape) -> Layout | None:
    """The smallest group of GPUs that holds weights and caches of `concurrency` sequences, the rest as replicas.

    Replicas exchange nothing, the GPUs of a group exchange activations twice a layer. Where no group holds so many
    sequences, the largest. None where the model does not fit at all.
    """
    context = shape.prompt_tokens + shape.completion_tokens
    splits = possible_splits(arch, hardware, context)
    if not splits:
        return None
    holding = {
        split: memory_bytes(arch, hardware.of(split.tensor_parallel), 1, context).max_sequences for split in splits
    }
    split = next((split for split in splits if holding[split] >= concurrency), splits[-1])
    pace = throughput_estimate(
        arch, hardware, split.replicas * concurrency, shape.prompt_tokens, shape.completion_tokens, split
    )
    return Layout(split.replicas, split.tensor_parallel, holding[split], pace.output_tokens_per_second)


def _concurrency(
    levels: Sequence[MeasuredRate], knee: MeasuredRate, has_leveled_off: bool, current: ServerSettings
) -> tuple[str, str]:
    """What to say of the requests in flight, and the setting to change."""
    best = f"{knee.concurrency:,} in flight give {knee.tokens_per_second:,.3g} output tokens/s"
    if not has_leveled_off:
        higher = 4 * knee.concurrency
        return (
            f"{best}, the most that was measured, and the rate was still growing: measure higher with "
            f"{CONCURRENCY_SETTING}={higher} and `synth baseline`.",
            f"{CONCURRENCY_SETTING}={higher}",
        )
    last = levels[-1]
    gain = last.tokens_per_second / knee.tokens_per_second - 1
    wait = (last.concurrency / last.tokens_per_second) / (knee.concurrency / knee.tokens_per_second)
    more = f"{gain:.0%} more" if gain > 0 else f"{-gain:.0%} less"
    words = f"{best}; {last.concurrency:,} give {more}, and each answer takes {wait:.1f} times as long."
    if current.max_parallel_requests == knee.concurrency:
        return f"{words} {CONCURRENCY_SETTING} is {knee.concurrency:,}, as it should be.", ""
    setting = f"{CONCURRENCY_SETTING}={knee.concurrency}"
    return f"{words} Set {setting} (it is {current.max_parallel_requests}).", setting


def _layout_words(
    arch: ModelArchitecture, hardware: Hardware, knee: MeasuredRate, shape: RequestShape, layout: Layout | None
) -> str:
    if layout is None:
        return (
            f"{arch.name} does not fit {hardware.name}: {arch.weight_bytes / 1e9:,.0f} GB of weights, "
            f"{hardware.memory_bytes * MEMORY_UTILIZATION / 1e9:,.0f} GB for them and the caches."
        )
    context = shape.prompt_tokens + shape.completion_tokens
    gpus = "one GPU" if layout.tensor_parallel == 1 else f"{layout.tensor_parallel} GPUs"
    room = hardware.of(layout.tensor_parallel).memory_bytes * MEMORY_UTILIZATION / 1e9
    servers = "1 server" if layout.replicas == 1 else f"{layout.replicas} servers"
    words = [
        f"On {hardware.name}: {servers} of {gpus} each (tensor-parallel size {layout.tensor_parallel}), "
        f"together about {layout.tokens_per_second:,.0f} output tokens/s by the roofline.",
        f"{gpus[0].upper()}{gpus[1:]} hold{'s' if layout.tensor_parallel == 1 else ''} "
        f"{arch.weight_bytes / 1e9:,.3g} GB of weights and {layout.max_sequences:,} sequences of {context:,.0f} tokens "
        f"in {room:,.0f} GB.",
    ]
    if layout.max_sequences < knee.concurrency:
        words.append(f"No division holds {knee.concurrency:,} of them at once: the rest would wait.")
    elif layout.tensor_parallel > 1:
        words.append("Fewer GPUs for each would not hold weights and caches.")
    if layout.replicas > 1:
        words.append(f"Give all their addresses to {ADDRESS_SETTING}, separated by commas.")
    return " ".join(words)


def _limit(
    arch: ModelArchitecture, hardware: Hardware, knee: MeasuredRate, shape: RequestShape, current: ServerSettings
) -> tuple[str, str]:
    """What limits the servers there are: in a word or two, and in sentences."""
    requests = current.servers * knee.tokens_per_second / max(shape.completion_tokens, 1)
    for name, rate, remedy in (
        ("client", CLIENT_REQUESTS_PER_SECOND, "Run several clients, each with its own files (`synth run --files`)."),
        ("ledger", LEDGER_ROWS_PER_SECOND, "Give each corpus a lake of its own."),
    ):
        if requests > rate:
            return name, (
                f"The {name} limits: the servers could answer {requests:,.0f} requests/s, "
                f"it takes {rate:,.0f}. {remedy}"
            )
    share_of_gpus = hardware.of(max(1, hardware.count // current.servers))
    try:
        expected = throughput_estimate(
            arch, share_of_gpus, knee.concurrency, knee.prompt_tokens, knee.completion_tokens
        )
    except SettingError as error:
        return "memory", str(error)
    reached = knee.tokens_per_second / expected.output_tokens_per_second
    if reached < LEAST_EXPECTED_SHARE:
        return "not these GPUs", (
            f"The measured server reaches {reached:.2%} of the {expected.output_tokens_per_second:,.0f} tokens/s that "
            f"the roofline expects of {share_of_gpus.name}: it runs on something else, or something beside it takes "
            "its time."
        )
    limit = expected.limit
    return limit.kind, f"The server limits: {limit.words}. {_REMEDIES[limit.kind]}"


_REMEDIES: dict[LimitKind, str] = {
    "memory bandwidth": "More in flight share the reading of the weights; weights of fewer bits read less.",
    "arithmetic": "More in flight bring nothing; more GPUs, or weights in FP8 where the GPU computes in it, do.",
    "exchange between GPUs": "Smaller groups exchange less: more replicas, where their memory allows it.",
    "the server's own work": "A larger batch spreads it over more tokens: put more in flight, on fewer servers.",
}
