"""The corpus that ships with the package is what its README says."""

from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

from synth_assets.core.documents import CuratorDocument, read_curator_file
from synth_assets.core.suitability import judge_suitability
from synth_assets.local_folder import LocalFolder

FOLDER = Path(str(files("synth_assets") / "sample_corpus"))


@pytest.fixture(scope="module")
def rows():
    return [row for key, file in LocalFolder(FOLDER).files().items() for row in read_curator_file(file.source, key)]


@pytest.fixture(scope="module")
def articles(rows):
    return list({row.document_id: row for row in rows}.values())


def test_three_files_hold_eighteen_rows_and_none_is_unreadable(rows):
    assert Counter(row.curator_file for row in rows) == {
        "history-and-places.jsonl": 6,
        "nature-and-arts.jsonl.gz": 5,
        "science-and-technology.jsonl": 7,
    }
    assert all(isinstance(row, CuratorDocument) for row in rows)


def test_thirteen_articles_are_distinct_and_repeat_within_and_across_files(rows, articles):
    assert len(articles) == len({row.title for row in articles}) == 13
    places = Counter((row.title, row.curator_file) for row in rows)
    assert [place for place, count in places.items() if count > 1] == [("Rosetta Stone", "history-and-places.jsonl")]
    in_files = Counter(title for title, _ in places)
    assert sorted(title for title, count in in_files.items() if count > 1) == [
        "Antikythera mechanism",
        "Lake Baikal",
        "Tardigrade",
        "Waggle dance",
    ]


def test_every_row_has_all_of_curators_columns(rows):
    for row in rows:
        assert all([row.text, row.title, row.source_id, row.url, row.language, row.file_name, row.categories])
        assert row.url.startswith("https://en.wikipedia.org/wiki/")
        assert row.language == "en"
        assert row.text == row.text.strip()


def test_lengths_run_from_stub_to_long_article_and_most_are_short_enough_for_a_small_server(articles):
    lengths = sorted(len(row.text) for row in articles)
    assert lengths[0] >= 900
    assert 28_000 <= lengths[-1] <= 30_000
    assert all(length <= 4_000 for length in lengths[:-1])


def test_there_are_good_and_poor_candidates_of_each_kind(articles):
    verdicts = {row.title: judge_suitability(row.title, row.text, row.language) for row in articles}
    assert {title: verdict for title, verdict in verdicts.items() if verdict} == {
        "Bouvet Island": "stub",
        "List of chemical elements": "list_heavy",
        "Mercury": "disambiguation",
        "Planets of the Solar System (data)": "table_heavy",
    }


def test_the_list_of_elements_is_complete(articles):
    text = next(row.text for row in articles if row.title == "List of chemical elements")
    numbers = [line.split(".")[0] for line in text.split("\n") if line[:1].isdigit()]
    assert numbers == [str(number) for number in range(1, 119)]
