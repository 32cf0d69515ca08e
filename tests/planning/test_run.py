"""What a run asks for and what it leaves alone, counted by the fake server."""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from resources.inference import ServedModel
from resources.testing import Behaviour, Fault
from synth_assets.assets.partition_rows import PARTITIONS_PER_TRANSACTION
from synth_assets.core.purchasing import PurchaseReport
from synth_assets.core.strategy import AnswerContext
from synth_assets.strategies import discover

STRATEGIES = discover()
NAMES = [strategy.name for strategy in STRATEGIES]


def shout(answer: str, context: AnswerContext) -> str:
    """A clean-up rule that no strategy has."""
    return answer.rstrip(".")


def test_a_first_run_materializes_everything_and_a_second_run_nothing(workplace, make_article):
    workplace.write("a.jsonl", [make_article(1), make_article(2)])
    workplace.write("b.jsonl", [make_article(3)])
    summary, project = workplace.run()
    assert summary.failed == []
    assert project.purchases.total().requests_sent == workplace.server.request_count
    sent = workplace.server.request_count
    assert sent > 0

    summary, project = workplace.run()
    assert (summary.materialized, summary.failed) == ([], [])
    assert workplace.server.request_count == sent
    assert project.purchases.total().requests_sent == 0


def test_what_a_run_counts_is_complete_also_when_a_purchase_ends_after_its_table(workplace, make_article, monkeypatch):
    add = PurchaseReport.add

    def late(self: PurchaseReport, other: PurchaseReport) -> None:
        time.sleep(0.5)
        add(self, other)

    monkeypatch.setattr(PurchaseReport, "add", late)
    workplace.write("a.jsonl", [make_article(1)])
    _, project = workplace.run()
    assert project.purchases.total().requests_sent == workplace.server.request_count


def test_documents_in_equal_rows_plus_drops_for_every_strategy_and_file(workplace, make_article):
    stub = {"text": "Too short to be an article.", "title": "Stub"}
    workplace.write("a.jsonl", [make_article(1), make_article(2), make_article(1), stub])
    workplace.write("b.jsonl", [make_article(3), make_article(2)])
    workplace.run()
    for name in NAMES:
        for file in ("a.jsonl", "b.jsonl"):
            seeds = f"SELECT count(*) n FROM seed.curated_documents WHERE curator_file = '{file}'"
            early = (
                f"SELECT count(*) n FROM ledger.drops WHERE curator_file = '{file}' AND strategy IS NULL "
                "AND document_id IS NOT NULL"
            )
            rows = f"SELECT count(*) n FROM rephrased.{name} WHERE curator_file = '{file}'"
            drops = f"SELECT count(*) n FROM ledger.drops WHERE curator_file = '{file}' AND strategy = '{name}'"
            counts = [workplace.rows(sql)[0]["n"] for sql in (seeds, early, rows, drops)]
            assert counts[0] - counts[1] == counts[2] + counts[3], (name, file, counts)


def test_one_edited_document_sends_only_its_own_calls(workplace, make_article):
    articles = [make_article(number) for number in range(1, 5)]
    workplace.write("a.jsonl", articles[:3])
    workplace.write("b.jsonl", articles[3:])
    workplace.run()
    calls = "SELECT count(*) n FROM ledger.completions WHERE document_id = ?"
    before = workplace.server.request_count

    edited = {**articles[1], "text": articles[1]["text"].replace("Station 2 ", "Station two ")}
    workplace.write("a.jsonl", [articles[0], edited, articles[2]])
    summary, _ = workplace.run()
    sent = workplace.server.request_count - before
    new_id = workplace.rows("SELECT document_id FROM seed.curated_documents WHERE text LIKE '%Station two%'")
    own = workplace.lake.query(calls, [new_id[0]["document_id"]])["n"][0].as_py()
    assert sent == own > 0
    assert {partition for _, partition in summary.materialized} == {"a.jsonl", None}


def test_an_edited_prompt_sends_that_strategys_calls_only(workplace, make_article):
    workplace.write("a.jsonl", [make_article(1), make_article(2)])
    workplace.run()
    before = workplace.server.request_count
    changed = [
        replace(strategy, instructions=strategy.instructions + " Be brief.") if strategy.name == "distill" else strategy
        for strategy in STRATEGIES
    ]
    workplace.overrides["strategies"] = changed
    summary, project = workplace.run()
    rephrased = {key.path[1] for key, _ in summary.materialized if key.path[0] == "rephrased"}
    assert rephrased == {"distill"}
    assert project.purchases.rephrase.report.requests_sent == 2
    sent = workplace.server.request_count - before
    assert sent == 2 + project.purchases.judge.report.requests_sent


def test_an_edited_clean_up_rule_sends_nothing_to_the_rephraser_and_changes_the_table(workplace, make_article):
    workplace.write("a.jsonl", [make_article(1)])
    workplace.run()
    text = workplace.rows("SELECT text FROM rephrased.distill")[0]["text"]
    workplace.overrides["strategies"] = [
        replace(strategy, rules=(*strategy.rules, shout)) if strategy.name == "distill" else strategy
        for strategy in STRATEGIES
    ]
    _, project = workplace.run()
    assert project.purchases.rephrase.report.requests_sent == 0
    assert workplace.rows("SELECT text FROM rephrased.distill")[0]["text"] == text.rstrip(".") != text


@pytest.mark.parametrize("change", ["reordered", "renamed", "recompressed", "touched"])
def test_a_file_with_the_same_documents_sends_nothing(workplace, make_article, change):
    articles = [make_article(number) for number in range(1, 4)]
    path = workplace.write("a.jsonl", articles)
    workplace.run()
    before = workplace.server.request_count
    if change == "reordered":
        workplace.write("a.jsonl", articles[::-1])
    elif change == "renamed":
        path.rename(path.with_name("z.jsonl"))
    elif change == "recompressed":
        path.with_name("a.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    else:
        path.touch()
    summary, _ = workplace.run()
    assert summary.failed == []
    assert workplace.server.request_count == before
    assert workplace.rows("SELECT count(*) n FROM merged.documents WHERE strategy = 'original'")[0]["n"] == 3


def test_a_reordered_file_makes_nothing_below_the_seed_stale(workplace, make_article):
    articles = [make_article(number) for number in range(1, 4)]
    workplace.write("a.jsonl", articles)
    workplace.run()
    workplace.write("a.jsonl", articles[::-1])
    summary, _ = workplace.run()
    assert [".".join(key.path) for key, _ in summary.materialized] == ["seed.curated_documents"]


def test_the_same_article_in_two_files_is_asked_once(workplace, make_article):
    workplace.write("a.jsonl", [make_article(1)])
    workplace.run()
    before = workplace.server.request_count
    workplace.write("b.jsonl", [make_article(1)])
    summary, _ = workplace.run()
    assert summary.failed == []
    assert workplace.server.request_count == before
    assert workplace.rows("SELECT count(*) n FROM merged.documents WHERE strategy = 'original'")[0]["n"] == 1


def test_a_deleted_file_leaves_every_table_and_comes_back_for_nothing(workplace, make_article):
    workplace.write("a.jsonl", [make_article(1)])
    path = workplace.write("b.jsonl", [make_article(2)])
    workplace.run()
    before = workplace.server.request_count
    content = path.read_bytes()
    path.unlink()
    summary, _ = workplace.run()
    assert summary.files.deleted == ("b.jsonl",)
    tables = ["seed.curated_documents", "merged.documents", "merged.multistrategy", "metrics.perplexity",
              "metrics.judge_scores", "ledger.drops", *(f"rephrased.{name}" for name in NAMES)]  # fmt: skip
    for table in tables:
        assert workplace.rows(f"SELECT count(*) n FROM {table} WHERE curator_file = 'b.jsonl'")[0]["n"] == 0, table

    path.write_bytes(content)
    workplace.run()
    assert workplace.server.request_count == before
    assert workplace.rows("SELECT count(*) n FROM merged.documents WHERE strategy = 'original'")[0]["n"] == 2


def test_a_duplicate_takes_over_when_the_file_that_held_the_document_is_deleted(workplace, make_article):
    path = workplace.write("a.jsonl", [make_article(1)])
    workplace.write("b.jsonl", [make_article(1), make_article(2)])
    workplace.run()
    before = workplace.server.request_count
    path.unlink()
    workplace.run()
    originals = workplace.rows("SELECT curator_file FROM merged.documents WHERE strategy = 'original'")
    assert [row["curator_file"] for row in originals] == ["b.jsonl", "b.jsonl"]
    assert workplace.server.request_count == before


def test_a_changed_model_asks_for_everything_and_keeps_the_old_answers(workplace, make_article):
    workplace.write("a.jsonl", [make_article(1)])
    workplace.run()
    first = workplace.server.request_count
    workplace.server.models = (ServedModel("another-model", root="another/model", max_model_len=8192),)
    summary, _ = workplace.run()
    assert summary.failed == []
    assert workplace.server.request_count == 2 * first
    models = workplace.rows("SELECT model, count(*) n FROM ledger.completions GROUP BY 1 ORDER BY 1")
    assert models == [{"model": "another-model", "n": first}, {"model": "fake-model", "n": first}]


def test_a_failed_request_fails_its_file_only_and_the_next_run_asks_only_for_it(workplace, make_article):
    workplace.write("a.jsonl", [make_article(1)])
    workplace.write("b.jsonl", [make_article(2), make_article(3)])
    workplace.server.behaviour = Behaviour(faults=(Fault("status", status=400, containing="Station 2 "),))
    summary, project = workplace.run(strategies=["distill"])
    assert {(".".join(key.path), partition) for key, partition in summary.failed} == {("rephrased.distill", "b.jsonl")}
    assert "b.jsonl" in summary.errors[0]
    assert len(project.purchases.rephrase.report.failures) == 1
    assert workplace.rows("SELECT count(*) n FROM rephrased.distill")[0]["n"] == 2
    assert workplace.rows("SELECT DISTINCT curator_file f FROM merged.documents")[0]["f"] == "a.jsonl"

    workplace.server.behaviour = Behaviour()
    summary, project = workplace.run(strategies=["distill"])
    assert summary.failed == []
    assert project.purchases.rephrase.report.requests_sent == 1
    assert workplace.rows("SELECT count(*) n FROM rephrased.distill")[0]["n"] == 3


def test_a_strategy_can_be_chosen_and_the_others_follow_later(workplace, make_article):
    workplace.write("a.jsonl", [make_article(1)])
    workplace.run(strategies=["distill"])
    found = workplace.rows("SELECT DISTINCT strategy FROM merged.documents ORDER BY 1")
    assert [row["strategy"] for row in found] == ["distill", "original"]
    workplace.run()
    found = workplace.rows("SELECT DISTINCT strategy FROM merged.documents")
    assert {row["strategy"] for row in found} == {"original", *NAMES}


def test_bad_rows_are_named_drops_and_the_rest_goes_on(workplace, make_article):
    good = json.dumps(make_article(1))
    lines = ['{"text": "cut', '{"title": "no text"}', '{"text": null}', '{"text": 5}', good]
    (workplace.corpus / "a.jsonl").write_text("\n".join(lines) + "\n")
    (workplace.corpus / "empty.jsonl").write_text("")
    (workplace.corpus / "latin.jsonl").write_bytes(b'{"text": "caf\xe9"}\n')
    (workplace.corpus / "no.parquet").write_bytes(b"this is no Parquet file")
    summary, _ = workplace.run(strategies=["distill"])
    drops = workplace.rows(
        "SELECT curator_file, row_number, reason FROM ledger.drops WHERE strategy IS NULL ORDER BY ALL"
    )
    assert [(row["curator_file"], row["row_number"], row["reason"]) for row in drops] == [
        ("a.jsonl", 1, "unreadable_row"),
        ("a.jsonl", 2, "missing_text"),
        ("a.jsonl", 3, "missing_text"),
        ("a.jsonl", 4, "missing_text"),
        ("latin.jsonl", 1, "unreadable_row"),
    ]
    assert [(".".join(key.path), partition) for key, partition in summary.failed] == [
        ("seed.curated_documents", "no.parquet")
    ]
    assert "no.parquet" in summary.errors[0]
    assert workplace.rows("SELECT count(*) n FROM rephrased.distill")[0]["n"] == 1


def test_names_that_do_not_exist_are_refused_with_those_that_do(workplace, make_article: Callable[..., dict[str, Any]]):
    from resources.errors import SynthError

    workplace.write("a.jsonl", [make_article(1)])
    with pytest.raises(SynthError, match="distill"):
        workplace.run(strategies=["destill"])
    with pytest.raises(SynthError, match="nowhere"):
        workplace.run(files=["nowhere.jsonl"])


def test_ctrl_c_within_a_dagster_step_ends_the_whole_run(workplace, make_article, make_reference):
    def score_interrupted(texts: Sequence[str]) -> list[Any]:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
        return []

    workplace.write("a.jsonl", [make_article(1)])
    interrupting = make_reference()
    interrupting.score = score_interrupted
    workplace.overrides["reference"] = interrupting
    with pytest.raises(KeyboardInterrupt):
        workplace.run(strategies=["distill"])

    workplace.overrides["reference"] = make_reference()
    summary, project = workplace.run(strategies=["distill"])
    assert summary.failed == []
    assert project.purchases.rephrase.report.requests_sent == 0


PATIENCE_SECONDS = 60
"""For a run to get somewhere on a machine that does much else; in itself it takes a few seconds."""


def wait_until(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_SECONDS
    while not (is_so := holds()) and time.monotonic() < end:
        time.sleep(0.05)
    return is_so


def rows_of(workplace: Any, table: str) -> int:
    return workplace.rows(f"SELECT count(*) n FROM {table}")[0]["n"] if workplace.lake.has_table(table) else 0


def test_tables_are_made_of_what_has_come_while_answers_for_later_files_are_held_back(workplace, make_article):
    held = PARTITIONS_PER_TRANSACTION + 1
    for number in range(1, held + 1):
        workplace.write(f"{number:02}.jsonl", [make_article(number)])
    server = workplace.server
    server.behaviour = Behaviour(faults=(Fault("hang", containing=f"Station {held} "),))

    def watch() -> tuple[bool, int]:
        is_made = wait_until(lambda: rows_of(workplace, "rephrased.distill") == held - 1)
        in_flight = server.in_flight
        server.behaviour = Behaviour()
        # What hangs is cut off, and asked for again.
        server.die(0.1)
        return is_made, in_flight

    with ThreadPoolExecutor(1) as pool:
        watched = pool.submit(watch)
        summary, _ = workplace.run(strategies=["distill"])
    assert watched.result() == (True, 1)
    assert summary.failed == []
    assert rows_of(workplace, "rephrased.distill") == held


def test_ctrl_c_while_several_strategies_are_bought_leaves_no_thread_and_keeps_every_answer(workplace, make_article):
    workplace.environment["JUDGE_SHARE"] = "0"
    workplace.write("a.jsonl", [make_article(number) for number in range(4)])
    server = workplace.server
    server.behaviour = Behaviour(faults=(Fault("hang", containing="Station 3 "),))

    def interrupt() -> bool:
        is_reached = wait_until(lambda: server.in_flight == 2 and rows_of(workplace, "ledger.completions") == 6)
        os.kill(os.getpid(), signal.SIGINT)
        return is_reached

    with ThreadPoolExecutor(1) as pool:
        interrupted = pool.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            workplace.run(strategies=["distill", "wiki_rephrase"])
    assert interrupted.result()
    left = {thread.name for thread in threading.enumerate()}
    assert left.isdisjoint({"buying-ahead", "ledger-writer", "data-designer"}), left

    server.behaviour = Behaviour()
    summary, project = workplace.run(strategies=["distill", "wiki_rephrase"])
    assert summary.failed == []
    assert project.purchases.rephrase.report.requests_sent == 2


def test_an_article_in_two_files_of_one_run_is_found_to_be_one(workplace, make_article):
    workplace.write("a.jsonl", [make_article(1)])
    workplace.write("b.jsonl", [make_article(1), make_article(2)])
    _, project = workplace.run(strategies=["distill"])
    duplicates = workplace.rows("SELECT curator_file f FROM seed.curated_documents WHERE is_duplicate")
    assert [row["f"] for row in duplicates] == ["b.jsonl"]
    assert project.purchases.rephrase.report.requests_sent == 2
