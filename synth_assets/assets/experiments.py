"""Proxy pre-training: a small model for each source of text and for the mix, and how well each reads real text.

In: choosing what is held out, and reading each source up to its budget. Out: training and figures
(`core.proxy_pretraining`). Nothing asks for this asset but its name: it takes minutes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import dagster as dg
import pyarrow as pa
from pydantic import Field

from resources.errors import SynthError
from resources.lake import Lake
from synth_assets.assets.keys import MERGED, NEAR_DUPLICATES, PROXY_PRETRAINING
from synth_assets.assets.single_runs import materialize_table
from synth_assets.assets.table_metadata import definition_metadata
from synth_assets.assets.versions import RootVersions
from synth_assets.core.code_fingerprint import code_fingerprint
from synth_assets.core.mixture import ORIGINAL
from synth_assets.core.proxy_model import CPU_CONFIG, CUDA_CONFIG, ProxyConfig, proxy_device
from synth_assets.core.proxy_pretraining import ArmResult, markdown_table, run_arms
from synth_assets.core.proxy_text import Ids, packed
from synth_assets.core.quality_tables import NEAR_DUPLICATES as NEAR_DUPLICATES_TABLE
from synth_assets.core.quality_tables import PROXY_PRETRAINING as PROXY_TABLE
from synth_assets.core.tables import MERGED_DOCUMENTS

MAX_HELD_OUT_BYTES = {"cpu": 100_000, "cuda": 2_000_000}
"""What scoring one model may take: some seconds."""

SAMPLING_MARGIN, MIN_DRAWN_DOCUMENTS = 2, 64
"""A source of which the budget is a small part is read as a draw of this many times the budget, and of at least so many
documents on average: documents differ in length, so a draw of just the budget would often fall short of it."""

_TEXT = pa.schema([("text", pa.string())])


class ProxyPretrainingConfig(dg.Config):
    """How much to train. What is not given is as the machine can bear it: a CPU of two cores, or a GPU."""

    seeds: list[int] = Field(default=[1, 2, 3], min_length=1)
    held_out_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the originals, at least one, that no arm sees, in whatever form."""
    steps: int | None = Field(default=None, ge=1)
    batch_windows: int | None = Field(default=None, ge=1)
    context_bytes: int | None = Field(default=None, ge=2)
    layers: int | None = Field(default=None, ge=1)
    width: int | None = Field(default=None, ge=2)
    heads: int | None = Field(default=None, ge=1)

    def proxy_config(self, device: str) -> ProxyConfig:
        """The configuration of a training on this device."""
        base = CUDA_CONFIG if device == "cuda" else CPU_CONFIG
        given = self.model_dump(exclude={"seeds", "held_out_share"}, exclude_none=True)
        config = ProxyConfig(**{**asdict(base), **given})
        if config.width % (2 * config.heads):
            raise SynthError(
                f"A width of {config.width} cannot be shared among {config.heads} heads.",
                "Give a width that is a multiple of twice the number of heads.",
            )
        return config


@dg.asset(
    key=PROXY_PRETRAINING,
    deps=[MERGED, NEAR_DUPLICATES],
    group_name="experiments",
    kinds={"pytorch", "duckdb"},
    description=PROXY_TABLE.description,
    code_version=code_fingerprint(run_arms),
    metadata=definition_metadata(PROXY_TABLE),
)
def proxy_pretraining(
    context: dg.AssetExecutionContext,
    config: ProxyPretrainingConfig,
    lake: dg.ResourceParam[Lake],
    roots: dg.ResourceParam[RootVersions],
) -> dg.MaterializeResult:
    """Train every arm for every seed; the table has a row for each."""

    def build() -> tuple[pa.Table, Mapping[str, Any]]:
        device = proxy_device()
        proxy = config.proxy_config(device)
        bound = held_out_bound(lake, config.held_out_share)
        held_out = packed(held_out_texts(lake, bound), MAX_HELD_OUT_BYTES[device])
        results = run_arms(
            read_sources(lake, bound, proxy.train_bytes),
            ORIGINAL,
            held_out,
            proxy,
            config.seeds,
            device,
            lambda result: _log(context, result),
        )
        table = pa.Table.from_pylist([asdict(result) for result in results], schema=PROXY_TABLE.schema)
        return table, {"result": dg.MetadataValue.md(markdown_table(results, ORIGINAL))}

    return materialize_table(context, PROXY_TABLE, roots, build)


def _log(context: dg.AssetExecutionContext, result: ArmResult) -> None:
    context.log.info(
        f"{result.arm}, seed {result.seed}: {result.bits_per_byte:.4f} bits per byte, {result.wall_seconds:.0f} s"
    )


def held_out_bound(lake: Lake, share: float) -> str:
    """The document id below which originals are held out: ids are hashes, so these are a draw of `share` of them.

    At least one original is held out and at least one is left. SynthError where there are not two.
    """
    count = 0
    if lake.has_table(MERGED_DOCUMENTS.name):
        sql = f"SELECT count(*) AS n FROM {MERGED_DOCUMENTS.name} WHERE strategy = ?"  # noqa: S608
        count = lake.query(sql + _without_near_duplicates(lake), [ORIGINAL])["n"].to_pylist()[0]
    if count < 2:
        raise SynthError(
            f"There are {count} originals in {MERGED_DOCUMENTS.name}, and proxy pre-training needs two at least: one "
            "to learn from and one to be measured on.",
            "Run `synth run` first, over more documents.",
        )
    place = min(max(1, round(share * count)), count - 1)
    sql = (
        f"SELECT document_id FROM {MERGED_DOCUMENTS.name} WHERE strategy = ?"  # noqa: S608
        f"{_without_near_duplicates(lake)} ORDER BY 1 LIMIT 1 OFFSET {place}"
    )
    return lake.query(sql, [ORIGINAL])["document_id"].to_pylist()[0]


def held_out_texts(lake: Lake, bound: str) -> Iterator[str]:
    """The originals that no arm sees, in the order of their ids."""
    sql = (
        f"SELECT text FROM {MERGED_DOCUMENTS.name} WHERE strategy = ? AND document_id < ?"  # noqa: S608
        f"{_without_near_duplicates(lake)} ORDER BY document_id"
    )
    yield from _texts(lake, sql, [ORIGINAL, bound])


def read_sources(lake: Lake, bound: str, train_bytes: int) -> dict[str, Ids]:
    """The packed text of each source, originals first, up to the budget; a source without text is left out."""
    sql = (
        f"SELECT strategy, count(*) AS documents, sum(char_count)::BIGINT AS chars FROM {MERGED_DOCUMENTS.name}"  # noqa: S608
        f" WHERE document_id >= ?{_without_near_duplicates(lake)} GROUP BY 1 ORDER BY strategy <> ?, strategy"
    )
    found = {}
    for row in lake.query(sql, [bound, ORIGINAL]).to_pylist():
        share = max(SAMPLING_MARGIN * train_bytes / max(1, row["chars"]), MIN_DRAWN_DOCUMENTS / row["documents"])
        ids = packed(_source_texts(lake, row["strategy"], bound, share), train_bytes)
        if ids.size:
            found[row["strategy"]] = ids
    return found


def _source_texts(lake: Lake, strategy: str, bound: str, share: float) -> Iterator[str]:
    # Merged ids are hashes as well: those below a share of their range are a draw, and the same one in every process.
    last = "g" if share >= 1 else f"{int(share * 2**32):08x}"
    sql = (
        f"SELECT text FROM {MERGED_DOCUMENTS.name}"  # noqa: S608
        f" WHERE strategy = ? AND document_id >= ? AND merged_id < ?{_without_near_duplicates(lake)} ORDER BY merged_id"
    )
    return _texts(lake, sql, [strategy, bound, last])


def _texts(lake: Lake, sql: str, parameters: list[Any]) -> Iterator[str]:
    for batch in lake.stream(sql, parameters, _TEXT):
        yield from batch["text"].to_pylist()


def _without_near_duplicates(lake: Lake) -> str:
    """What exports leave out teaches nothing here either, and no copy of a held-out text is learned from."""
    if not lake.has_table(NEAR_DUPLICATES_TABLE.name):
        return ""
    return f" AND merged_id NOT IN (SELECT merged_id FROM {NEAR_DUPLICATES_TABLE.name})"  # noqa: S608
