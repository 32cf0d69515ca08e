"""Which texts are judged: the share that the setting says, each once."""

from __future__ import annotations

from synth_assets.assets.keys import JUDGE_SCORES


def test_a_larger_share_judges_the_rest_and_asks_for_nothing_twice(workplace, make_article):
    workplace.write("a.jsonl", [make_article(number) for number in range(6)])
    workplace.environment["JUDGE_SHARE"] = "0.4"
    workplace.run()
    few = {row["merged_id"] for row in workplace.rows("SELECT merged_id FROM metrics.judge_scores")}
    sent = workplace.server.request_count
    workplace.environment["JUDGE_SHARE"] = "1"
    summary, _ = workplace.run()
    assert [key for key, _ in summary.materialized] == [JUDGE_SCORES]
    every = {row["merged_id"] for row in workplace.rows("SELECT merged_id FROM metrics.judge_scores")}
    assert few < every
    assert every == {
        row["merged_id"]
        for row in workplace.rows("SELECT merged_id FROM merged.documents WHERE strategy <> 'original'")
    }
    assert workplace.server.request_count - sent == len(every - few)
    assert workplace.run()[0].materialized == []
