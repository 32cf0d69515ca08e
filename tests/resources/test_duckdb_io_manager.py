from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from resources.duckdb_io_manager import DuckDBIOManager, TableUpdate
from resources.errors import LakeError
from resources.lake import Replacement

FILES = dg.StaticPartitionsDefinition(["a.jsonl", "b.jsonl", "c.jsonl"])
LANGUAGES = dg.StaticPartitionsDefinition(["de", "en"])
DISTILL = dg.AssetKey(["rephrased", "distill"])


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[DuckDBIOManager]:
    manager = DuckDBIOManager(catalog=f"sqlite:{tmp_path}/catalog.sqlite", data_path=f"{tmp_path}/data")
    yield manager
    manager.lake.close()


def rows(*partitions: str, text: str = "text") -> pa.Table:
    return pa.table({"curator_file": list(partitions), "text": [f"{text} of {name}" for name in partitions]})


def materialize(manager: DuckDBIOManager, *assets: dg.AssetsDefinition, partition: str | None = None, **kwargs):
    return dg.materialize(list(assets), resources={"io_manager": manager}, partition_key=partition, **kwargs)


@dg.asset(key=DISTILL, partitions_def=FILES)
def distill(context: dg.AssetExecutionContext) -> pa.Table:
    return rows(*context.partition_keys)


@dg.asset(key=DISTILL, partitions_def=FILES)
def edited(context: dg.AssetExecutionContext) -> pa.RecordBatchReader:
    return rows(*context.partition_keys, text="edited").to_reader()


def stored(manager: DuckDBIOManager) -> list[str]:
    return sorted(manager.lake.read("rephrased.distill")["text"].to_pylist())


def test_a_partition_is_replaced_and_the_others_stay(manager: DuckDBIOManager) -> None:
    materialize(manager, distill, partition="a.jsonl")
    materialize(manager, distill, partition="b.jsonl")
    materialize(manager, edited, partition="a.jsonl")
    assert stored(manager) == ["edited of a.jsonl", "text of b.jsonl"]


def test_a_run_over_several_partitions_replaces_those(manager: DuckDBIOManager) -> None:
    for partition in FILES.get_partition_keys():
        materialize(manager, distill, partition=partition)
    tags = {"dagster/asset_partition_range_start": "a.jsonl", "dagster/asset_partition_range_end": "b.jsonl"}

    @dg.asset(key=DISTILL, partitions_def=FILES, backfill_policy=dg.BackfillPolicy.single_run())
    def several(context: dg.AssetExecutionContext) -> pa.Table:
        return rows(*context.partition_keys, text="edited")

    materialize(manager, several, tags=tags)
    assert stored(manager) == ["edited of a.jsonl", "edited of b.jsonl", "text of c.jsonl"]


def test_an_asset_without_partitions_replaces_its_table(manager: DuckDBIOManager) -> None:
    def quality(strategies: list[str]) -> dg.AssetsDefinition:
        @dg.asset(key=["reports", "quality"])
        def table() -> pa.Table:
            return pa.table({"strategy": strategies})

        return table

    materialize(manager, quality(["distill"]))
    materialize(manager, quality(["distill", "diverse_qa"]))
    assert manager.lake.read("reports.quality").num_rows == 2


def test_the_partition_column_can_be_named(manager: DuckDBIOManager) -> None:
    @dg.asset(key=DISTILL, partitions_def=LANGUAGES, metadata={"partition_column": "language"})
    def by_language(context: dg.AssetExecutionContext) -> pa.Table:
        return pa.table({"language": [context.partition_key], "text": [f"text in {context.partition_key}"]})

    @dg.asset(key=["merged", "documents"], partitions_def=LANGUAGES, ins={"source": dg.AssetIn(DISTILL)})
    def merged(source: pa.Table) -> None:
        seen.append(source["text"].to_pylist())

    seen: list[list[str]] = []
    for partition in ("de", "en"):
        materialize(manager, by_language, partition=partition)
    materialize(manager, by_language, merged, partition="de", selection=[merged])
    assert seen == [["text in de"]]


def test_other_tables_are_replaced_in_the_same_transaction(manager: DuckDBIOManager) -> None:
    drops = pa.table({"curator_file": ["a.jsonl"], "reason": ["too_short"]})

    @dg.asset(key=DISTILL, partitions_def=FILES)
    def with_drops(context: dg.AssetExecutionContext) -> TableUpdate:
        where = {"curator_file": context.partition_key}
        return TableUpdate(rows(context.partition_key), (Replacement("ledger.drops", drops, where),))

    snapshots = []
    for _ in range(2):
        materialize(manager, with_drops, partition="a.jsonl")
        snapshots.append(manager.lake.snapshot_id())
    assert manager.lake.read("ledger.drops") == drops
    assert snapshots[1] == snapshots[0] + 1


def test_a_failing_output_leaves_the_old_rows(manager: DuckDBIOManager) -> None:
    materialize(manager, distill, partition="a.jsonl")

    @dg.asset(key=DISTILL, partitions_def=FILES)
    def broken(context: dg.AssetExecutionContext) -> TableUpdate:
        bad = Replacement("rephrased.distill", pa.table({"text": [1]}), None)
        return TableUpdate(rows(context.partition_key, text="edited"), (bad,))

    with pytest.raises(LakeError, match=r"text of rephrased\.distill is VARCHAR"):
        materialize(manager, broken, partition="a.jsonl")
    assert stored(manager) == ["text of a.jsonl"]


def test_no_output_stores_nothing(manager: DuckDBIOManager, tmp_path: Path) -> None:
    @dg.asset(key=DISTILL)
    def nothing():
        return None

    assert materialize(manager, nothing).success
    assert not manager.lake.has_table("rephrased.distill")


def test_an_output_that_is_no_table_is_refused(manager: DuckDBIOManager) -> None:
    @dg.asset(key=DISTILL)
    def wrong():
        return [{"text": "x"}]

    with pytest.raises(TypeError, match=r"expected pa\.Table"):
        materialize(manager, wrong)


def test_an_asset_whose_key_is_no_table_name_is_refused(manager: DuckDBIOManager) -> None:
    @dg.asset
    def distilled() -> pa.Table:
        return rows("a.jsonl")

    with pytest.raises(ValueError, match="schema and table"):
        materialize(manager, distilled)


@pytest.mark.parametrize("kind", ["table", "stream"])
def test_a_materialization_tells_rows_and_table(manager: DuckDBIOManager, kind: str) -> None:
    result = materialize(manager, distill if kind == "table" else edited, partition="a.jsonl")
    (event,) = result.asset_materializations_for_node(
        distill.node_def.name if kind == "table" else edited.node_def.name
    )
    assert event.metadata["dagster/row_count"].value == 1
    assert event.metadata["dagster/table_name"].value == "rephrased.distill"
    assert event.metadata["lake_snapshot"].value == manager.lake.snapshot_id()


def load(manager: DuckDBIOManager, kind: type, partition: str | None, mapping: dg.PartitionMapping | None = None):
    """What a downstream asset gets of `rephrased.distill`, whose three partitions are there."""
    for name in FILES.get_partition_keys():
        materialize(manager, distill, partition=name)
    seen: list[pa.Table | pa.RecordBatchReader] = []

    def body(source):
        assert isinstance(source, kind)
        seen.append(source if isinstance(source, pa.Table) else source.read_all())

    body.__annotations__["source"] = kind
    downstream = dg.asset(
        key=["merged", "documents"],
        ins={"source": dg.AssetIn(DISTILL, partition_mapping=mapping)},
        partitions_def=FILES if partition else None,
    )(body)
    materialize(manager, distill, downstream, partition=partition, selection=[downstream])
    return sorted(seen[0]["curator_file"].to_pylist())


@pytest.mark.parametrize("kind", [pa.Table, pa.RecordBatchReader])
def test_an_input_is_its_partition_as_a_table_or_a_stream(manager: DuckDBIOManager, kind: type) -> None:
    assert load(manager, kind, "b.jsonl") == ["b.jsonl"]


@pytest.mark.parametrize("kind", [pa.Table, pa.RecordBatchReader])
def test_an_asset_without_partitions_gets_all_partitions(manager: DuckDBIOManager, kind: type) -> None:
    assert load(manager, kind, None) == ["a.jsonl", "b.jsonl", "c.jsonl"]


def test_an_asset_without_partitions_gets_only_the_mapped_ones(manager: DuckDBIOManager) -> None:
    mapping = dg.SpecificPartitionsPartitionMapping(["a.jsonl", "c.jsonl"])
    assert load(manager, pa.Table, None, mapping) == ["a.jsonl", "c.jsonl"]


def test_an_input_without_partitions_is_the_whole_table(manager: DuckDBIOManager) -> None:
    seen = []

    @dg.asset(key=DISTILL)
    def whole() -> pa.Table:
        return rows("a", "b")

    @dg.asset(key=["merged", "documents"], ins={"source": dg.AssetIn(DISTILL)})
    def merged(source: pa.Table) -> None:
        seen.append(source)

    materialize(manager, whole, merged)
    assert seen == [rows("a", "b")]


def test_loading_what_was_never_stored_names_the_table(manager: DuckDBIOManager) -> None:
    @dg.asset(key=["merged", "documents"], partitions_def=FILES, ins={"source": dg.AssetIn(DISTILL)})
    def merged(source: pa.Table) -> None: ...

    with pytest.raises(LakeError, match=r"no table rephrased\.distill"):
        materialize(manager, distill, merged, partition="a.jsonl", selection=[merged])
