"""How long the answers of one strategy and model were, and what was asked for before, from the ledger.

In: three queries. Out: the ledger itself (`resources.ledger`), and what is expected of the next answers
(`synth_assets.core.output_length`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from resources.lake import Lake
from resources.ledger import COMPLETIONS


class BoughtTokens(NamedTuple):
    """Tokens of one answer, as the server counted them."""

    prompt_tokens: int
    completion_tokens: int


def answer_statistics(lake: Lake, strategy: str, model: str) -> dict[str, Any] | None:
    """Counts, means, population variances and covariance over prompts (as estimated) and answers; None without any.

    A request that the server refused as too long is no answer. Documents are counted to some percent.
    """
    if not lake.has_table(COMPLETIONS):
        return None
    statement = f"""
        SELECT count(*) AS answers, approx_count_distinct(document_id) AS documents,
        avg(expected) AS mean_prompt_tokens, avg(completion_tokens) AS mean_completion_tokens,
        var_pop(expected) AS prompt_variance, var_pop(completion_tokens) AS completion_variance,
        covar_pop(completion_tokens, expected) AS covariance
        FROM (
            SELECT document_id, completion_tokens,
            coalesce(nullif(estimated_prompt_tokens, 0), prompt_tokens) AS expected
            FROM {COMPLETIONS} WHERE strategy = ? AND model = ? AND finish_reason <> 'context_overflow'
        )
    """  # noqa: S608
    [row] = lake.query(statement, [strategy, model]).to_pylist()
    return row if row["answers"] else None


def bought_tokens(lake: Lake, request_keys: Sequence[str]) -> dict[str, BoughtTokens]:
    """Tokens of the answers to those of the keys that have one. One pass over the ledger's keys for any number."""
    if not request_keys or not lake.has_table(COMPLETIONS):
        return {}
    statement = f"""
        SELECT request_key, max(prompt_tokens) AS prompt_tokens, max(completion_tokens) AS completion_tokens
        FROM {COMPLETIONS} WHERE request_key IN (SELECT unnest(?)) GROUP BY 1
    """  # noqa: S608
    found = lake.query(statement, [list(request_keys)])
    return {
        key: BoughtTokens(*tokens)
        for key, *tokens in zip(*(column.to_pylist() for column in found.columns), strict=True)
    }


def documents_asked_for(lake: Lake, strategy: str, model: str, document_ids: Sequence[str]) -> set[str]:
    """Those of the documents for which the ledger has an answer of that strategy and model."""
    if not document_ids or not lake.has_table(COMPLETIONS):
        return set()
    statement = f"""
        SELECT DISTINCT document_id FROM {COMPLETIONS}
        WHERE strategy = ? AND model = ? AND document_id IN (SELECT unnest(?))
    """  # noqa: S608
    return set(lake.query(statement, [strategy, model, list(document_ids)])["document_id"].to_pylist())
