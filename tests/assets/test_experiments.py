"""Proxy pre-training holds originals out of every arm, and is made only when it is asked for by name."""

from __future__ import annotations

import dagster as dg
import pyarrow as pa
import pytest

from resources.errors import SynthError
from resources.lake import Lake, Replacement
from synth_assets.assets.experiments import (
    ProxyPretrainingConfig,
    held_out_bound,
    held_out_texts,
    read_sources,
)
from synth_assets.assets.keys import ASKED_FOR_BY_NAME, PROXY_PRETRAINING
from synth_assets.core.proxy_model import CPU_CONFIG, CUDA_CONFIG
from synth_assets.core.proxy_text import byte_count
from synth_assets.core.quality_tables import NEAR_DUPLICATES
from synth_assets.core.tables import MERGED_DOCUMENTS
from synth_assets.definitions import project_defs


def merged_row(number: int, strategy: str, chars: int = 100) -> dict[str, object]:
    document_id = f"{number * 7919 % 256:02x}{'0' * 30}"
    text = f"<{strategy} {number}>".ljust(chars, ".")
    return {
        "merged_id": f"{number * 104729 % 65536:04x}{strategy}", "document_id": document_id, "curator_file": "a",
        "strategy": strategy, "title": "", "text": text, "token_count": 1, "char_count": len(text), "segments": [],
    }  # fmt: skip


def write(lake: Lake, table, rows: list[dict[str, object]]) -> None:
    lake.replace([Replacement(table.name, pa.Table.from_pylist(rows, schema=table.schema), None)])


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = Lake(f"sqlite:{tmp_path}/catalog.sqlite", str(tmp_path / "data"))
    rows = [merged_row(number, strategy) for number in range(20) for strategy in ("original", "distill", "wiki")]
    write(lake, MERGED_DOCUMENTS, rows)
    return lake


def decoded(ids) -> str:
    return bytes(value for value in ids.tolist() if value < 256).decode()


def numbers(text: str) -> set[int]:
    return {int(part.split(">")[0].split(" ")[1]) for part in text.split("<")[1:]}


def test_what_is_held_out_is_in_no_source_in_any_form(lake):
    bound = held_out_bound(lake, 0.2)
    held_out = numbers("".join(held_out_texts(lake, bound)))
    assert len(held_out) == 4
    sources = read_sources(lake, bound, 1_000_000)
    assert list(sources) == ["original", "distill", "wiki"]
    for ids in sources.values():
        assert numbers(decoded(ids)) == set(range(20)) - held_out


@pytest.mark.parametrize(("share", "held_out_count"), [(0.001, 1), (0.5, 10), (0.999, 19)])
def test_one_original_at_least_is_held_out_and_one_is_left(lake, share, held_out_count):
    assert len(list(held_out_texts(lake, held_out_bound(lake, share)))) == held_out_count


def test_a_near_duplicate_is_neither_learned_from_nor_measured_on(lake):
    dropped = [merged_row(number, "original") for number in (3, 4)] + [merged_row(5, "wiki")]
    rows = [{**row, "kept_merged_id": "x", "kept_strategy": "wiki", "similarity": 1.0} for row in dropped]
    write(lake, NEAR_DUPLICATES, [{name: row[name] for name in NEAR_DUPLICATES.schema.names} for row in rows])
    bound = held_out_bound(lake, 0.2)
    held_out = numbers("".join(held_out_texts(lake, bound)))
    sources = read_sources(lake, bound, 1_000_000)
    assert held_out | numbers(decoded(sources["original"])) == set(range(20)) - {3, 4}
    assert 5 not in numbers(decoded(sources["wiki"]))


def test_of_a_source_that_is_larger_than_the_budget_a_draw_is_read(lake):
    sources = read_sources(lake, held_out_bound(lake, 0.05), 300)
    assert {byte_count(ids) for ids in sources.values()} == {300}
    again = read_sources(lake, held_out_bound(lake, 0.05), 300)
    assert all((sources[name] == again[name]).all() for name in sources)


def test_a_lake_with_too_little_says_what_to_do(tmp_path):
    lake = Lake(f"sqlite:{tmp_path}/catalog.sqlite", str(tmp_path / "data"))
    with pytest.raises(SynthError, match="synth run"):
        held_out_bound(lake, 0.2)
    write(lake, MERGED_DOCUMENTS, [merged_row(1, "original"), merged_row(1, "wiki")])
    with pytest.raises(SynthError, match="There are 1 originals"):
        held_out_bound(lake, 0.2)


def test_what_is_not_given_is_as_the_device_can_bear_it():
    assert ProxyPretrainingConfig().proxy_config("cpu") == CPU_CONFIG
    assert ProxyPretrainingConfig().proxy_config("cuda") == CUDA_CONFIG
    assert ProxyPretrainingConfig(steps=7).proxy_config("cpu").steps == 7
    with pytest.raises(SynthError, match="heads"):
        ProxyPretrainingConfig(width=30, heads=4).proxy_config("cpu")


def test_a_run_leaves_it_out_and_its_name_makes_it(workplace, make_article):
    workplace.write("a.jsonl", [make_article(number) for number in range(1, 7)])
    summary, project = workplace.run()
    assert summary.failed == []
    assert not {key for key, _ in summary.materialized} & set(ASKED_FOR_BY_NAME)
    job = project_defs(project).resolve_implicit_global_asset_job_def()
    tiny = {"steps": 2, "batch_windows": 2, "context_bytes": 32, "layers": 1, "width": 16, "heads": 2, "seeds": [1, 2]}
    result = job.get_subset(asset_selection={PROXY_PRETRAINING}).execute_in_process(
        instance=workplace.instance, run_config={"ops": {"experiments__proxy_pretraining": {"config": tiny}}}
    )
    [event] = result.asset_materializations_for_node("experiments__proxy_pretraining")
    markdown = event.metadata["result"]
    assert isinstance(markdown, dg.MarkdownMetadataValue)
    rows = workplace.rows("SELECT arm, seed, train_bytes, held_out_bytes FROM experiments.proxy_pretraining")
    strategies = [strategy.name for strategy in project.strategies]
    assert {(row["arm"], row["seed"]) for row in rows} == {
        (arm, seed) for arm in ("original", "mix", *strategies) for seed in (1, 2)
    }
    assert {row["train_bytes"] for row in rows} == {2 * 2 * 32}
    assert all(f"| {row['arm']} |" in markdown.value for row in rows)
