"""The GPUs that costs are computed for, and the setting that names them (`4xH100-SXM`).

In: what a data sheet and a price list say. Out: what a model makes of it (`roofline`, `cost`).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from resources.errors import SettingError

PRICE_SOURCE = (
    "a third-party page of RunPod prices, early 2026, not checked with the vendor; set COST_GPU_HOUR_USD to yours"
)

GIGABYTE = 1e9

PCIE_4_BYTES_PER_SECOND = 32 * GIGABYTE
"""16 lanes, one direction."""

_SHEET = "https://www.nvidia.com/en-us/data-center/"


@dataclass(frozen=True)
class Gpu:
    """One accelerator. Peaks are dense (without sparsity), as NVIDIA's data sheets state them."""

    name: str
    bf16_flops_per_second: float
    fp8_flops_per_second: float | None
    """None: no FP8 units; FP8 weights still halve the bytes, at the bf16 peak."""
    bandwidth_bytes_per_second: float
    memory_bytes: float
    usd_per_hour: float
    """A list price that was public at `price_source`: a starting point; COST_GPU_HOUR_USD replaces it."""
    link_bytes_per_second: float = PCIE_4_BYTES_PER_SECOND
    """To the other GPUs of its machine, in one direction."""
    source: str = ""
    price_source: str = PRICE_SOURCE

    def peak_flops_per_second(self, bytes_per_param: float = 2.0) -> float:
        """Peak for weights of that size: that of the FP8 units where the GPU has them and a weight is one byte.

        Weights of 4 bits are widened to 16 before they are multiplied (AWQ, GPTQ, MXFP4 before Blackwell).
        """
        if bytes_per_param == 1.0 and self.fp8_flops_per_second is not None:
            return self.fp8_flops_per_second
        return self.bf16_flops_per_second


GPUS: tuple[Gpu, ...] = (
    Gpu("A100-80-SXM", 312e12, None, 2.0e12, 80 * GIGABYTE, 1.39, 300 * GIGABYTE, _SHEET + "a100"),
    Gpu("L40S", 362e12, 733e12, 0.864e12, 48 * GIGABYTE, 0.79, PCIE_4_BYTES_PER_SECOND, _SHEET + "l40s"),
    Gpu("H100-SXM", 989e12, 1979e12, 3.35e12, 80 * GIGABYTE, 2.69, 450 * GIGABYTE, _SHEET + "h100"),
    Gpu("H200-SXM", 989e12, 1979e12, 4.8e12, 141 * GIGABYTE, 3.59, 450 * GIGABYTE, _SHEET + "h200"),
    Gpu("B200", 2250e12, 4500e12, 8.0e12, 192 * GIGABYTE, 5.98, 900 * GIGABYTE, _SHEET + "dgx-b200"),
)
"""Links: NVLink 3, 4 and 5 have 600, 900 and 1,800 GB/s in both directions together; the L40S has PCIe 4 x16 only."""

_ALIASES = {
    "a100": "a10080sxm",
    "a100sxm": "a10080sxm",
    "a10080": "a10080sxm",
    "a10080gb": "a10080sxm",
    "a10080gbsxm": "a10080sxm",
    "h100": "h100sxm",
    "h100sxm5": "h100sxm",
    "h200": "h200sxm",
    "b200sxm": "b200",
}

_PATTERN = re.compile(r"\s*(?:(\d+)\s*[x×*]\s*)?(\S.*?)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Hardware:
    """Some GPUs of one kind, and what an hour of one of them costs."""

    gpu: Gpu
    count: int
    usd_per_gpu_hour: float

    @property
    def name(self) -> str:
        """As the setting writes it, for example `4xH100-SXM`."""
        return f"{self.count}x{self.gpu.name}"

    @property
    def bandwidth_bytes_per_second(self) -> float:
        """Memory bandwidth of all GPUs together."""
        return self.gpu.bandwidth_bytes_per_second * self.count

    @property
    def memory_bytes(self) -> float:
        """Memory of all GPUs together."""
        return self.gpu.memory_bytes * self.count

    def of(self, count: int) -> Hardware:
        """So many of the same GPUs."""
        return replace(self, count=count)

    def peak_flops_per_second(self, bytes_per_param: float = 2.0) -> float:
        """Peak of all GPUs together for weights of that size."""
        return self.gpu.peak_flops_per_second(bytes_per_param) * self.count

    @classmethod
    def parse(
        cls, setting: str, usd_per_gpu_hour: str | float | None = None, *, setting_name: str = "COST_HARDWARE"
    ) -> Hardware:
        """Read COST_HARDWARE (`[count x] GPU`, case and punctuation do not matter) and COST_GPU_HOUR_USD.

        An absent or empty price means the catalogue's. Raises SettingError for either; `setting_name` is what it calls
        the hardware's.
        """
        match = _PATTERN.fullmatch(setting)
        gpu = _find_gpu(match.group(2)) if match else None
        count = int(match.group(1) or 1) if match else 0
        if gpu is None or count < 1:
            raise SettingError(
                f"{setting_name}={setting!r} is no hardware that costs can be computed for.",
                f"Accepted: a count, `x` and one of {', '.join(known.name for known in GPUS)}, "
                "for example 4xH100-SXM or L40S.",
            )
        return cls(gpu, count, _parse_price(usd_per_gpu_hour, gpu.usd_per_hour))


def _find_gpu(name: str) -> Gpu | None:
    key = re.sub(r"[^a-z0-9]", "", name.lower()).removeprefix("nvidia")
    key = _ALIASES.get(key, key)
    return next((gpu for gpu in GPUS if re.sub(r"[^a-z0-9]", "", gpu.name.lower()) == key), None)


def _parse_price(price: str | float | None, default: float) -> float:
    if price is None or price == "":
        return default
    try:
        value = float(price)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise SettingError(
            f"COST_GPU_HOUR_USD={price!r} is no price.",
            "Accepted: dollars for one GPU-hour, for example 2.69.",
        )
    return value
