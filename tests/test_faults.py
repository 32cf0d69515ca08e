"""A model server that misbehaves while a run buys: what is waited for, what fails its file, what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from resources.testing import Behaviour, Fault
from resources.vllm_resource import VLLMResource

ARTICLES = {"a.jsonl": (1, 2, 3), "b.jsonl": (4, 5, 6)}
NEEDED = 6


@pytest.fixture
def hasty(workplace, make_article):
    """Two files of three articles, one strategy, no judge; a server is given up after two seconds of failures."""
    for name, numbers in ARTICLES.items():
        workplace.write(name, [make_article(number) for number in numbers])
    workplace.environment["JUDGE_SHARE"] = "0"
    be_patient_for(workplace, 2.0)
    return workplace


def be_patient_for(workplace, give_up_after_seconds, answer_timeout_seconds=1.0, parallel=2):
    for name in ("vllm", "judge_vllm"):
        workplace.overrides[name] = VLLMResource(
            base_url=workplace.server.base_url,
            max_parallel_requests=parallel,
            give_up_after_seconds=give_up_after_seconds,
            answer_timeout_seconds=answer_timeout_seconds,
        )


def run(workplace):
    """The summary, and how many calls this run sent."""
    before = workplace.server.request_count
    summary, _ = workplace.run(strategies=["distill"])
    return summary, workplace.server.request_count - before


def failed_files(summary):
    return sorted(partition for key, partition in summary.failed if key.path[-1] == "distill")


def answered(workplace):
    if not workplace.lake.has_table("ledger.completions"):
        return 0
    return workplace.rows("SELECT count(*) n FROM ledger.completions")[0]["n"]


def rephrased(workplace):
    """Number of rows by file."""
    found = workplace.rows("SELECT curator_file, count(*) n FROM rephrased.distill GROUP BY 1 ORDER BY 1")
    return {row["curator_file"]: row["n"] for row in found}


def dies_at(ordinal, server, seconds):
    """Kills the server when it gets its n-th request."""

    def strike(body: Mapping[str, Any]) -> bool:
        nonlocal ordinal
        ordinal -= 1
        if ordinal == 0:
            # On the server's own loop, which the answer to this request is waiting for.
            server.die_soon(seconds)
        return False

    return Behaviour(latency_seconds=0.05, faults=(Fault("hang", when=strike),))


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=429, first=4),
        Fault("status", status=429, retry_after_seconds=0.2, first=4),
        Fault("status", status=500, every=3),
        Fault("proxy_page", status=503, first=4),
        Fault("hang", first=1),
        Fault("drop", first=3),
        Fault("not_json", first=2),
        Fault("json_list", first=2),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_what_passes_is_waited_for_and_nothing_fails(hasty, fault):
    be_patient_for(hasty, 60.0)
    hasty.server.behaviour = Behaviour(faults=(fault,))
    summary, sent = run(hasty)
    assert summary.failed == []
    assert rephrased(hasty) == {"a.jsonl": 3, "b.jsonl": 3}
    assert answered(hasty) == hasty.server.answered_count - (fault.first or 0) * (fault.kind in ANSWERED_IN_VAIN)
    assert sent > NEEDED
    assert run(hasty)[1] == 0


ANSWERED_IN_VAIN = ("drop", "not_json", "half_json", "no_choices", "empty_choices", "json_list")
"""Faults by which an answer is made and then spoilt on its way."""


@pytest.mark.parametrize("ordinal", [1, 3, 5])
def test_a_server_that_is_gone_for_a_while_is_waited_for(hasty, ordinal):
    be_patient_for(hasty, 60.0)
    hasty.server.behaviour = dies_at(ordinal, hasty.server, seconds=1.5)
    summary, sent = run(hasty)
    assert summary.failed == []
    assert rephrased(hasty) == {"a.jsonl": 3, "b.jsonl": 3}
    in_flight = 2
    assert answered(hasty) == NEEDED
    assert NEEDED <= sent <= NEEDED + in_flight


FOR_GOOD = {
    1: Fault("status", status=500),
    2: Fault("not_json"),
    3: Fault("half_json"),
    4: Fault("no_choices"),
    5: Fault("empty_choices"),
    6: Fault("json_list"),
    7: Fault("hang"),
    8: Fault("drop"),
    9: Fault("status", status=413),
    10: Fault("status", status=422),
}


def test_documents_that_fail_for_good_each_fail_their_file_and_the_rest_is_kept(hasty, make_article):
    be_patient_for(hasty, 5.0, parallel=8)
    for number in FOR_GOOD:
        hasty.write(f"{number:02}.jsonl", [make_article(100 + number), make_article(200 + number)])
    hasty.server.behaviour = Behaviour(
        faults=tuple(replace(fault, containing=f"Station {100 + number} ") for number, fault in FOR_GOOD.items())
    )
    summary, _ = run(hasty)
    assert failed_files(summary) == [f"{number:02}.jsonl" for number in FOR_GOOD]
    assert rephrased(hasty) == {"a.jsonl": 3, "b.jsonl": 3, **{f"{number:02}.jsonl": 1 for number in FOR_GOOD}}
    assert answered(hasty) == NEEDED + len(FOR_GOOD)

    hasty.server.behaviour = Behaviour()
    summary, sent = run(hasty)
    assert (summary.failed, sent) == ([], len(FOR_GOOD))
    assert rephrased(hasty) == {"a.jsonl": 3, "b.jsonl": 3, **{f"{number:02}.jsonl": 2 for number in FOR_GOOD}}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("status", status=429), ("VLLM_BASE_URL", "HTTP 429")),
        (Fault("status", status=429, retry_after_seconds=3600), ("VLLM_BASE_URL", "wait for more than 2 s")),
        (Fault("hang"), ("3 timeout",)),
        (Fault("drop"), ("VLLM_BASE_URL", "unreachable")),
        (Fault("status", status=500), ("HTTP 500",)),
        (Fault("status", status=401), ("VLLM_API_KEY", "HTTP 401")),
        (Fault("status", status=404), ("VLLM_MODEL", "HTTP 404")),
        (Fault("proxy_page", status=302), ("VLLM_BASE_URL", "HTTP 302")),
    ],
    ids=lambda value: f"{value.kind}-{value.status}" if isinstance(value, Fault) else "",
)
def test_a_server_that_fails_for_good_is_given_up_and_named(hasty, fault, words):
    hasty.server.behaviour = Behaviour(faults=(fault,))
    summary, _ = run(hasty)
    assert failed_files(summary) == ["a.jsonl", "b.jsonl"]
    for word in (*words, "`synth run`"):
        assert word in summary.errors[0]
    assert answered(hasty) == 0
    assert {key.path[-1] for key, _ in summary.materialized} >= {"curated_documents"}

    hasty.server.behaviour = Behaviour()
    summary, sent = run(hasty)
    assert (summary.failed, sent) == ([], NEEDED)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_no_waiting_mends_is_not_tried_again(hasty, status):
    be_patient_for(hasty, 3600.0)
    hasty.server.behaviour = Behaviour(faults=(Fault("status", status=status),))
    assert run(hasty)[1] <= 2


def test_a_server_that_dies_for_good_fails_what_it_owes_and_keeps_the_rest(hasty):
    hasty.server.behaviour = dies_at(4, hasty.server, seconds=None)
    summary, _ = run(hasty)
    kept = answered(hasty)
    assert 0 < kept < NEEDED
    assert failed_files(summary)
    assert hasty.server.base_url.removesuffix("/v1") in summary.errors[0]

    hasty.server.start()
    hasty.server.behaviour = Behaviour()
    summary, sent = run(hasty)
    assert (summary.failed, sent) == ([], NEEDED - kept)
