"""Throughput that others have published, to hold our predictions against: what was measured, and how far off we are.

In: figures with their sources, and the prediction for each. Out: the prediction itself (`throughput`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synth_assets.core.gpu_split import Split
from synth_assets.core.hardware import Hardware
from synth_assets.core.models import find
from synth_assets.core.throughput import throughput_estimate

DATATROVE = "https://github.com/huggingface/datatrove/tree/main/examples/inference/benchmark"
"""vLLM 0.15 on H100-80 (SXM), documents of FineWeb-Edu to be rewritten, up to 4,096 tokens of answer, rates per GPU."""

NEMOTRON_ON_B200 = "public figure for Nemotron-3 Nano in FP8 on one B200; its number of sequences is not published"

DATATROVE_PROMPT_TOKENS = 1100
DATATROVE_COMPLETION_TOKENS = 1000
"""Mean lengths are not published; these are ours, for a web page and its rewriting. They are part of the error."""


@dataclass(frozen=True)
class PublicFigure:
    """One published rate of one server: output tokens per second and GPU."""

    model: str
    hardware: str
    """All its GPUs are one tensor-parallel group."""
    sequences: int
    tokens_per_second_per_gpu: float
    is_fitted: bool = True
    """Whether the assumptions were fitted to it; the others are only held against them."""
    note: str = ""
    prompt_tokens: int = DATATROVE_PROMPT_TOKENS
    completion_tokens: int = DATATROVE_COMPLETION_TOKENS
    source: str = DATATROVE


@dataclass(frozen=True)
class Comparison:
    """A published rate and ours, in output tokens per second and GPU."""

    figure: PublicFigure
    predicted: float
    limit: str

    @property
    def error(self) -> float:
        """(Predicted - published) / published."""
        return self.predicted / self.figure.tokens_per_second_per_gpu - 1

    @property
    def ratio(self) -> float:
        """Published over predicted."""
        return self.figure.tokens_per_second_per_gpu / self.predicted


SPECULATIVE = "with speculative decoding, which is not modelled"

PUBLIC_FIGURES: Sequence[PublicFigure] = (
    PublicFigure("SmolLM2-135M", "H100", 256, 28_391),
    PublicFigure("SmolLM2-360M", "H100", 256, 17_887),
    PublicFigure("Qwen3-0.6B", "H100", 256, 13_527),
    PublicFigure("Qwen3-0.6B", "H100", 512, 14_069),
    PublicFigure("Gemma-3-1B", "H100", 256, 14_838),
    PublicFigure("SmolLM2-1.7B", "H100", 256, 5_255),
    PublicFigure("SmolLM2-1.7B", "H100", 2048, 9_220, is_fitted=False, note=SPECULATIVE),
    PublicFigure("Qwen3-1.7B", "H100", 256, 11_710),
    PublicFigure("Qwen3-4B", "H100", 256, 7_919),
    PublicFigure("Gemma-3-4B", "H100", 256, 8_501),
    PublicFigure("Gemma-3-4B", "H100", 1024, 9_253),
    PublicFigure("Qwen3-8B", "H100", 256, 6_338),
    PublicFigure("Gemma-3-12B", "H100", 256, 2_999),
    PublicFigure("Qwen3-14B", "H100", 256, 4_414),
    PublicFigure("Qwen3-14B", "2xH100", 256, 4_549),
    PublicFigure("Gemma-3-27B", "2xH100", 256, 1_724),
    PublicFigure("Qwen3-32B", "4xH100", 256, 1_987),
    PublicFigure("Qwen3-30B-A3B", "H100", 256, 2_977),
    PublicFigure("Qwen3-30B-A3B", "2xH100", 512, 5_310),
    PublicFigure("Qwen3-Next-80B-A3B", "4xH100", 256, 2_034),
    PublicFigure("Qwen3-Next-80B-A3B", "4xH100", 512, 2_678),
    PublicFigure("gpt-oss-20b", "H100", 256, 12_432),
    PublicFigure("gpt-oss-20b", "H100", 512, 14_671),
    PublicFigure("gpt-oss-120b", "H100", 256, 3_138),
    PublicFigure("gpt-oss-120b", "2xH100", 1024, 6_117),
    PublicFigure(
        "Nemotron-3-Nano-30B-A3B-FP8", "B200", 128, 9_415, is_fitted=False, note="sequences not published: 128 taken",
        prompt_tokens=1024, completion_tokens=1024, source=NEMOTRON_ON_B200,
    ),
)  # fmt: skip


def compare(figure: PublicFigure) -> Comparison:
    """The prediction for one published figure."""
    hardware = Hardware.parse(figure.hardware)
    pace = throughput_estimate(
        find(figure.model),
        hardware,
        figure.sequences,
        figure.prompt_tokens,
        figure.completion_tokens,
        Split(1, hardware.count),
    )
    return Comparison(figure, pace.output_tokens_per_second / hardware.count, pace.limit.words)


def comparisons() -> list[Comparison]:
    """All of them, in the order of PUBLIC_FIGURES."""
    return [compare(figure) for figure in PUBLIC_FIGURES]
