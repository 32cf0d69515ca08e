"""What one purchase has used, written down at its end: a row of `serving.usage`, and its failed calls.

In: a `PurchaseMeter` over the lake and the servers. Out: the servers' counters (`resources.server_usage`), the
arithmetic (`core.utilization`), the answers themselves (`resources.ledger_writer`).

Tokens, requests and times are those of our own answers. FLOPs and bytes, where the servers count them, are theirs: if
somebody else used them at the same time, that work is in MFU and MBU as well.
"""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from resources.errors import LakeError
from resources.failed_calls import record_failures
from resources.inference import Completion, FailedRequest, ServedModel
from resources.lake import Lake
from resources.server_usage import ServerCounters, read_counters, work_between
from resources.vllm_resource import VLLMResource
from synth_assets.core.architecture import BF16_BYTES, ModelArchitecture
from synth_assets.core.bill_tables import USAGE
from synth_assets.core.costing import cost_model
from synth_assets.core.hardware import Hardware
from synth_assets.core.utilization import PurchaseUsage, Utilization, computed_utilization, counted_utilization


class UsageMeter:
    """Measures one purchase from the moment before its first request to its last answer.

    Implements `resources.inference.PurchaseMeter`: a server without metrics is measured by our answers alone, and a
    lake that takes no rows any more loses the measurement, not the run.
    """

    def __init__(self, vllm: VLLMResource, lake: Lake, hardware: Hardware) -> None:
        self._vllm = vllm
        self._lake = lake
        self._hardware = hardware
        self._model: ServedModel | None = None
        self._counters: ServerCounters | None = None
        self._started_at = datetime.now(UTC)
        self._started = self._ended = 0.0
        self._answers = 0
        self._sums = {"prompt_tokens": 0, "cached_prompt_tokens": 0, "completion_tokens": 0}
        self._request_seconds = 0.0
        self._failures: list[FailedRequest] = []

    def begin(self, model: ServedModel) -> None:
        """Read the servers' counters and start the clock, the first time."""
        if self._model is not None:
            return
        self._model = model
        self._counters = read_counters(self._vllm)
        self._started_at = datetime.now(UTC)
        self._started = self._ended = time.monotonic()

    def answered(self, completion: Completion) -> None:
        """Count one answer; of a refusal as too long there is nothing but the request."""
        self._ended = time.monotonic()
        self._answers += 1
        self._request_seconds += completion.wall_seconds
        for name in self._sums:
            self._sums[name] += getattr(completion, name)

    def failed(self, request: FailedRequest) -> None:
        """Keep one failure, as the purchase itself does for the rest of the pass."""
        self._ended = time.monotonic()
        self._failures.append(request)

    def __enter__(self) -> UsageMeter:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._model is None or not (self._answers or self._failures):
            return
        after = read_counters(self._vllm) if self._counters else None
        with contextlib.suppress(LakeError):
            record_failures(self._lake, self._failures)
            row = self._row(self._model, after)
            self._lake.append(USAGE.name, pa.Table.from_pylist([row], schema=USAGE.schema))
            self._lake.merge_small_files(USAGE.name)

    def _row(self, model: ServedModel, after: ServerCounters | None) -> dict[str, Any]:
        usage = PurchaseUsage(
            requests=self._answers + len(self._failures),
            **self._sums,
            wall_seconds=self._ended - self._started,
            request_seconds=self._request_seconds,
        )
        utilization = self._utilization(model, usage, after)
        return {
            "started_at": self._started_at,
            "model": model.name,
            "base_urls": ", ".join(self._vllm.base_urls),
            "hardware": self._hardware.name,
            "requests": usage.requests,
            **self._sums,
            "wall_seconds": usage.wall_seconds,
            "mean_in_flight": usage.mean_in_flight,
            "tokens_per_second": usage.tokens_per_second,
            "mfu": utilization.mfu,
            "mbu": utilization.mbu,
            "utilization_source": utilization.source,
        }

    def _utilization(self, model: ServedModel, usage: PurchaseUsage, after: ServerCounters | None) -> Utilization:
        arch = _architecture(model)
        work = work_between(self._counters, after)
        if work is None:
            return computed_utilization(arch, self._hardware, usage)
        bytes_per_param = arch.bytes_per_param if arch else BF16_BYTES
        return counted_utilization(
            self._hardware, bytes_per_param, work.flops_per_gpu, work.bytes_per_gpu, work.seconds
        )


def _architecture(model: ServedModel) -> ModelArchitecture | None:
    known = cost_model(model)
    # The figures of a stand-in would be no measurement.
    return None if known.warning else known.architecture
