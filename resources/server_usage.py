"""What model servers say of their own work: FLOPs and bytes moved, as vLLM and SGLang count them.

In: reading those counters before and after, and their difference. Out: what share of a GPU's peak that is
(`synth_assets.core.utilization`). Both servers count only when started with `--enable-mfu-metrics`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from resources.vllm_resource import VLLMResource

METRICS_TIMEOUT_SECONDS = 2.0
"""A purchase waits for this at its beginning and its end; a server that works answers within 0.1 s."""

_FLOPS = "estimated_flops_per_gpu_total"
_BYTES = ("estimated_read_bytes_per_gpu_total", "estimated_write_bytes_per_gpu_total")


@dataclass(frozen=True)
class ServerCounters:
    """Work since the servers' start, of one GPU: the mean over all engines. `read_at` is this process's clock."""

    flops_per_gpu: float
    bytes_per_gpu: float
    read_at: float


@dataclass(frozen=True)
class ServerWork:
    """Work of one GPU in some seconds, whoever asked for it: a server does not tell its clients apart."""

    flops_per_gpu: float
    bytes_per_gpu: float
    seconds: float


def read_counters(vllm: VLLMResource) -> ServerCounters | None:
    """The counters now; None where the servers count no FLOPs or cannot be asked."""
    try:
        series = vllm.metric_series(METRICS_TIMEOUT_SECONDS)
    except Exception:  # whatever a server's page makes of the parser: a measurement must never end a purchase
        return None
    by_name = {name.partition(":")[2]: values for name, values in series.items()}
    if _FLOPS not in by_name:
        return None
    moved = sum(_mean(by_name, name) for name in _BYTES)
    return ServerCounters(_mean(by_name, _FLOPS), moved, time.monotonic())


def work_between(before: ServerCounters | None, after: ServerCounters | None) -> ServerWork | None:
    """What was done between two readings; None where one is missing, or where a restart has set the counters back."""
    if before is None or after is None:
        return None
    flops, moved = after.flops_per_gpu - before.flops_per_gpu, after.bytes_per_gpu - before.bytes_per_gpu
    seconds = after.read_at - before.read_at
    # A server that knows the option but not the model's layers counts nothing.
    return ServerWork(flops, moved, seconds) if flops > 0 and moved >= 0 and seconds > 0 else None


def _mean(series: Mapping[str, list[float]], name: str) -> float:
    values = series.get(name, [])
    return sum(values) / len(values) if values else 0.0
