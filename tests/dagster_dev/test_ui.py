"""What the Dagster UI shows and starts: sensor, launchpad, backfill, and the pages as a browser draws them."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from synth_assets.definitions import project_defs
from synth_assets.strategies import discover

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMIUM_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=2400,3000",
]  # fmt: skip


@pytest.fixture(scope="module")
def filled(ui):
    """Two files that the sensor has found, and the run that it asked for, which the daemon has launched."""
    ui.write("a.jsonl", ui.sample_documents(3)[:2])
    ui.write("b.jsonl", ui.sample_documents(3)[2:])
    sensor = ui.start_sensor("curator_outputs")
    statuses = ui.wait_for(lambda: ui.statuses_when_all_ended("bring_up_to_date"), "the run that the sensor asks for")
    ui.stop_sensor(sensor)
    assert statuses == ["SUCCESS"]
    return ui


def test_the_sensor_has_the_daemon_run_everything_for_new_files(filled) -> None:
    for strategy in discover():
        rows = filled.count(f"SELECT curator_file AS name, count(*) AS n FROM rephrased.{strategy.name} GROUP BY 1")
        assert rows == {"a.jsonl": 2, "b.jsonl": 1}, strategy.name
    originals = (
        "SELECT curator_file AS name, count(*) AS n FROM merged.documents WHERE strategy = 'original' GROUP BY 1"
    )
    assert filled.count(originals) == {"a.jsonl": 2, "b.jsonl": 1}
    assert (filled.settings.reports_dir / "report.html").is_file()


@pytest.mark.parametrize("asset", ["seed.curated_documents", "rephrased.distill", "merged.documents"])
def test_every_partition_shows_a_data_version_of_its_own(filled, asset: str) -> None:
    versions = filled.data_versions(asset, "a.jsonl", "b.jsonl")
    assert set(versions) == {"a.jsonl", "b.jsonl"}
    assert versions["a.jsonl"] != versions["b.jsonl"]


def test_a_run_launched_from_the_launchpad_asks_for_nothing_when_nothing_is_stale(filled) -> None:
    sent = filled.model_server.request_count
    before = filled.data_versions("merged.documents", "a.jsonl", "b.jsonl")
    assert filled.launch("bring_up_to_date") == "SUCCESS"
    assert filled.model_server.request_count == sent
    assert filled.data_versions("merged.documents", "a.jsonl", "b.jsonl") == before


def test_a_backfill_over_both_files_buys_and_changes_only_what_was_edited(filled) -> None:
    assets = ["seed.curated_documents", "rephrased.distill"]
    before = {asset: filled.data_versions(asset, "a.jsonl", "b.jsonl") for asset in assets}
    sent = filled.model_server.request_count
    documents = filled.sample_documents(5)
    filled.write("a.jsonl", [*documents[:2], documents[4]])

    backfill = filled.backfill(assets, ["a.jsonl", "b.jsonl"])
    assert backfill["status"] == "COMPLETED_SUCCESS"
    assert [run["status"] for run in backfill["runs"]] == ["SUCCESS"], "one run covers both files"

    after = {asset: filled.data_versions(asset, "a.jsonl", "b.jsonl") for asset in assets}
    for asset in assets:
        assert after[asset]["b.jsonl"] == before[asset]["b.jsonl"]
        assert after[asset]["a.jsonl"] != before[asset]["a.jsonl"]
    rows = filled.count("SELECT curator_file AS name, count(*) AS n FROM rephrased.distill GROUP BY 1")
    assert rows == {"a.jsonl": 3, "b.jsonl": 1}
    bought = filled.lake.query(
        "SELECT count(*) AS n FROM ledger.completions JOIN seed.curated_documents USING (document_id) WHERE title = ?",
        [documents[4]["title"]],
    )["n"][0].as_py()
    assert filled.model_server.request_count - sent == bought > 0
    assert [item for item in filled.stale() if ".".join(item.asset.path) in assets] == []


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome to draw the pages")


@needs_browser
def test_the_catalogue_lists_every_asset(ui, tmp_path: Path) -> None:
    text = drawn_text(f"{ui.url}/assets", tmp_path)
    keys = project_defs(ui.project).resolve_asset_graph().get_all_asset_keys()
    assert [key for key in keys if " / ".join(key.path) not in text] == [], text


@needs_browser
def test_the_lineage_shows_every_group_and_offers_everything_that_can_be_made(ui, tmp_path: Path) -> None:
    text = drawn_text(f"{ui.url}/asset-groups", tmp_path)
    graph = project_defs(ui.project).resolve_asset_graph()
    # A drawn group is followed by its numbers of assets by state; the sidebar has the name alone.
    assert [name for name in graph.all_group_names if not re.search(rf" {name} \d", text)] == [], text
    assert f"Materialize all ({len(graph.materializable_asset_keys)})" in text


def drawn_text(address: str, folder: Path) -> str:
    """The visible text of a page after its scripts have run."""
    flags = [*CHROMIUM_FLAGS, f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000", "--dump-dom"]
    page = subprocess.run([str(CHROMIUM), *flags, address], capture_output=True, text=True, timeout=120, check=True)
    without_code = re.sub(r"<(script|style)\b.*?</\1>", " ", page.stdout, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", without_code)))
