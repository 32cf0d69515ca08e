"""`kill -9` of webserver, daemon, code location and run at once: after a new start the work goes on by itself."""

from __future__ import annotations

from resources.testing import Behaviour

IN_FLIGHT = 8
COMMIT_BATCH = 64


def test_after_kill_9_of_everything_the_new_daemon_finishes_the_run_and_asks_only_for_what_was_not_kept(ui) -> None:
    ui.model_server.behaviour = Behaviour(latency_seconds=0.5)
    ui.write("a.jsonl", ui.sample_documents(3)[:2])
    ui.write("b.jsonl", ui.sample_documents(3)[2:])
    ui.start_sensor("curator_outputs")
    ui.wait_for(lambda: ui.model_server.answered_count >= 10, "the run that the sensor asks for")
    ui.kill()

    ui.model_server.behaviour = Behaviour()
    ui.start()
    ui.wait_for(lambda: ui.is_idle() and not ui.stale(), "the run to be started again and to end")
    statuses = ui.statuses_when_all_ended("bring_up_to_date")
    assert sorted(statuses) == ["FAILURE", "SUCCESS"]
    kept = ui.lake.query("SELECT count(*) AS n, count(DISTINCT request_key) AS m FROM ledger.completions").to_pylist()
    assert kept[0]["n"] == kept[0]["m"]
    assert ui.model_server.request_count - kept[0]["n"] <= IN_FLIGHT + COMMIT_BATCH
    doubled = "SELECT merged_id FROM merged.documents GROUP BY 1 HAVING count(*) > 1"
    assert ui.lake.query(doubled).num_rows == 0
    originals = (
        "SELECT curator_file AS name, count(*) AS n FROM merged.documents WHERE strategy = 'original' GROUP BY 1"
    )
    assert ui.count(originals) == {"a.jsonl": 2, "b.jsonl": 1}
