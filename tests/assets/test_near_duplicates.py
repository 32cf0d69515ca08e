"""Near-duplicates and contamination through the whole graph: the tables, the drops, and no call for a new set."""

from __future__ import annotations

import json

from synth_assets.core.words import words
from synth_assets.strategies import discover

NAMES = [strategy.name for strategy in discover()]
RUN = "Vessels that passed the northern lighthouse in winter carried timber, salted fish and letters for the mainland."


def test_near_duplicates_and_evaluation_items_leave_the_data_by_name_and_a_new_set_costs_no_call(
    workplace, make_article, tmp_path
):
    article, other = make_article(1, 400), make_article(2, 400)
    copy = {**article, "text": article["text"].replace("in the year 1905", "in the winter of 1905"), "title": "A copy"}
    planted = {**other, "text": f"{other['text']}\n\n{RUN}", "title": "Planted"}
    workplace.write("a.jsonl", [article])
    workplace.write("b.jsonl", [copy, planted])
    summary, _ = workplace.run(has_measures=True)
    assert summary.failed == []

    left_out = workplace.rows("SELECT * FROM merged.near_duplicates WHERE strategy = 'original'")
    assert [(row["curator_file"], row["kept_strategy"]) for row in left_out] == [("b.jsonl", "original")]
    count = workplace.rows("SELECT count(*) AS n FROM merged.near_duplicates")[0]["n"]
    drops = workplace.rows("SELECT strategy, stage, reason FROM ledger.drops WHERE reason = 'near_duplicate'")
    assert drops == [{"strategy": "mix", "stage": "near_duplicate", "reason": "near_duplicate"}] * count
    assert workplace.rows("SELECT count(*) AS n FROM merged.documents WHERE strategy = 'original'") == [{"n": 3}]

    asked = workplace.server.request_count
    (tmp_path / "sets").mkdir()
    rephrased = "SELECT made.text FROM rephrased.distill AS made JOIN seed.curated_documents seed USING (document_id)"
    spoken = words(workplace.rows(f"{rephrased} WHERE seed.title = 'A copy'")[0]["text"])
    # Two words that the model put before the sentence, and what the other article has in other words.
    place = spoken.index("winter")
    leaked = spoken[place - 9 : place + 4]
    (tmp_path / "sets" / "leak.jsonl").write_text(json.dumps([" ".join(leaked)]) + "\n")
    (tmp_path / "sets" / "ships.jsonl").write_text(json.dumps({"context": {"passage": RUN}}) + "\n")
    workplace.environment["EVALUATION_SETS"] = str(tmp_path / "sets")
    summary, _ = workplace.run(has_measures=True)
    assert summary.failed == []
    assert workplace.server.request_count == asked

    [dropped] = workplace.rows("SELECT * FROM ledger.drops WHERE reason = 'contaminated' AND strategy IS NULL")
    assert (dropped["curator_file"], dropped["stage"]) == ("b.jsonl", "decontamination")
    assert dropped["detail"] == f"ships: {RUN.rstrip('.')}"
    rejected = workplace.rows("SELECT title, rejection_reason FROM seed.curated_documents WHERE NOT is_candidate")
    assert rejected == [{"title": "Planted", "rejection_reason": "contaminated"}]
    for table in ("merged.documents", *(f"rephrased.{name}" for name in NAMES)):
        gone = workplace.rows(f"SELECT 1 FROM {table} WHERE document_id = '{dropped['document_id']}'")
        assert gone == [], table
    leaks = workplace.rows(
        "SELECT curator_file, detail FROM ledger.drops WHERE reason = 'contaminated' AND strategy = 'distill'"
    )
    assert [(row["curator_file"], words(row["detail"])) for row in leaks] == [("b.jsonl", ["leak", *leaked])]
    # Rows that are what they were end the recheck: nothing below the file without a hit was made again.
    again = {(".".join(key.path), partition) for key, partition in summary.materialized}
    assert ("seed.curated_documents", "a.jsonl") in again
    assert ("merged.documents", "a.jsonl") not in again
