"""The daemon with declarative automation on: it makes what is stale, level by level, once, and nothing else."""

from __future__ import annotations

from collections import Counter

import pytest


@pytest.fixture(scope="module")
def settled(ui):
    """Two files that one run has brought through every table, and both sensors turned on after it."""
    ui.write("a.jsonl", ui.sample_documents(3)[:2])
    ui.write("b.jsonl", ui.sample_documents(3)[2:])
    assert ui.launch("bring_up_to_date") == "SUCCESS"
    assert ui.stale() == []
    for name in ("curator_partitions", "automation"):
        ui.start_sensor(name)
    return ui


def test_an_edited_file_makes_what_was_stale_by_it_once_and_nothing_before_or_besides(settled) -> None:
    before = Counter(settled.materializations())
    sent, had = settled.model_server.request_count, bought(settled)
    documents = settled.sample_documents(5)
    settled.write("a.jsonl", [*documents[:2], documents[4]])
    stale = {(".".join(item.asset.path), item.partition) for item in settled.stale()}
    settled.wait_for(lambda: settled.is_idle() and not settled.stale(), "everything to be up to date")
    made = Counter(settled.materializations()) - before
    assert set(made) == stale
    assert set(made.values()) == {1}
    assert {partition for _, partition in made} == {"a.jsonl", None}
    assert settled.model_server.request_count - sent == bought(settled) - had > 0


def bought(ui) -> int:
    """Answers in the ledger: as many as requests, if each was asked for once."""
    return ui.lake.query("SELECT count(*) AS n FROM ledger.completions")["n"][0].as_py()
