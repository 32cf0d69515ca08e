"""What judging would cost: estimated from the texts that are still to be written, exact where they are there.

In: documents as the strategies' plans go through them, files whose judgements alone are stale. Out: the strategies' own
calls (`estimate`), and how a judgement is planned (`assets.judge_scores`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import islice

from resources.answer_lengths import BoughtTokens, bought_tokens, documents_asked_for
from resources.inference import ServedModel
from resources.lake import Lake
from synth_assets.assets.judge_scores import (
    DEFAULT_CONTEXT_TOKENS,
    JUDGE_NAME,
    JudgementPlanner,
    verdict_length,
)
from synth_assets.assets.measured import pace_of
from synth_assets.assets.rephrased import UNKNOWN_MODEL
from synth_assets.assets.waste_kinds import BEFORE_GENERATION
from synth_assets.core.costing import cost_model
from synth_assets.core.gpu_split import holding
from synth_assets.core.judge import JUDGE_SAMPLING, judge_messages
from synth_assets.core.request_planning import CHAT_TEMPLATE_TOKENS, PlannedDocument
from synth_assets.core.tables import DROPS, MERGED_DOCUMENTS
from synth_assets.planning.strategy_plan import Counts, Prices, StrategyPlan, priced
from synth_assets.project import Project

JUDGEMENTS_PER_LOOKUP = 1024

LEAST_DOCUMENTS = 20
"""Fewer say little about what a strategy's gates will keep; as many as estimates of lengths ask for."""


class JudgeEstimate:
    """Adds up the judge's calls for the texts of one plan. Counted with the rephraser's tokenizer."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._served = project.judge.known_model()
        self._model: ServedModel = self._served or UNKNOWN_MODEL
        self._verdicts = verdict_length(project.lake, self._model)
        texts = [message.content for message in judge_messages("", "", "")]
        self._frame_tokens = sum(project.rephraser.tokenizer().count_tokens(texts)) + CHAT_TEMPLATE_TOKENS
        context_tokens = self._model.max_model_len or DEFAULT_CONTEXT_TOKENS
        self._room = max(context_tokens - JUDGE_SAMPLING.max_tokens - self._frame_tokens, 1)
        self._kept_shares = kept_shares(project.lake)
        self._documents = self._calls = self._prompt_tokens = self._completion_tokens = 0.0
        self._exact = Counts()

    def add(self, strategy: str, documents: Sequence[PlannedDocument], known: Mapping[str, BoughtTokens]) -> None:
        """Count the texts that these documents will become: new ones, and old ones that no judge has seen.

        `known` are the answers that the ledger has to their requests. Of the texts, as many are taken to be dropped by
        clean-up and gates as were of that strategy until now.
        """
        share = self._project.settings.judge_share * self._kept_shares.get(strategy, 1.0)
        asked = [document for document in documents if document.requests]
        old = [document for document in asked if all(r.request.request_key in known for r in document.requests)]
        ids = [document.document.document_id for document in old]
        judged = documents_asked_for(self._project.lake, JUDGE_NAME, self._model.name, ids)
        for document in asked:
            is_new = any(planned.request.request_key not in known for planned in document.requests)
            if is_new or document.document.document_id not in judged:
                self._add(document, known, share)

    def _add(self, document: PlannedDocument, known: Mapping[str, BoughtTokens], share: float) -> None:
        tokens = sum(segment.token_count for segment in document.segments)
        for planned in document.requests:
            bought = known.get(planned.request.request_key)
            tokens += bought.completion_tokens if bought else planned.estimated_completion_tokens
        calls = max(1, math.ceil(tokens / self._room))
        prompt_tokens = calls * self._frame_tokens + tokens
        self._documents += share
        self._calls += share * calls
        self._prompt_tokens += share * prompt_tokens
        self._completion_tokens += share * calls * self._verdicts.expected(prompt_tokens / calls, 0)

    def add_files(self, files: Collection[str]) -> None:
        """Count the judgements of files whose texts are there already, as a run would ask for them."""
        project = self._project
        if not files:
            return
        planner = JudgementPlanner(project.lake, project.judge, self._model, project.settings.judge_share)
        documents = (requests for name in files for requests in planner.requests(name))
        while chunk := list(islice(documents, JUDGEMENTS_PER_LOOKUP)):
            keys = [planned.request.request_key for requests in chunk for planned in requests]
            known = bought_tokens(project.lake, keys)
            for requests in chunk:
                missing = [planned for planned in requests if planned.request.request_key not in known]
                answered = [known[p.request.request_key] for p in requests if p.request.request_key in known]
                exact = self._exact
                exact.documents += 1
                exact.documents_to_generate += bool(missing)
                exact.to_generate += len(missing)
                exact.answered += len(answered)
                exact.prompt_tokens += sum(planned.estimated_prompt_tokens for planned in missing)
                exact.completion_tokens += sum(planned.estimated_completion_tokens for planned in missing)
                exact.avoided_prompt_tokens += sum(tokens.prompt_tokens for tokens in answered)
                exact.avoided_completion_tokens += sum(tokens.completion_tokens for tokens in answered)

    def plan(self) -> StrategyPlan:
        """The judge's line. As in the bill, a model that does not fit the hardware has as many GPUs as it needs."""
        project, exact = self._project, self._exact
        concurrency = project.settings.judge_requests_in_flight
        counts = Counts(
            exact.to_generate + round(self._calls),
            exact.answered,
            exact.documents + round(self._documents),
            exact.documents_to_generate + round(self._documents),
            exact.prompt_tokens + round(self._prompt_tokens),
            exact.completion_tokens + round(self._completion_tokens),
            exact.avoided_prompt_tokens,
            exact.avoided_completion_tokens,
        )
        arch = cost_model(self._served).architecture
        longest = counts.prompt_tokens / max(counts.to_generate, 1) + JUDGE_SAMPLING.max_tokens
        hardware = holding(arch, project.settings.hardware, longest)
        pace = pace_of(project.lake, self._served, hardware, concurrency, project.settings.judge_server_count)
        return priced(counts, Prices(arch, hardware, concurrency, pace), self._verdicts)


def kept_shares(lake: Lake) -> dict[str, float]:
    """Share of the documents that were rephrased, by strategy, whose text is kept; strategies with few are left out."""
    if not (lake.has_table(MERGED_DOCUMENTS.name) and lake.has_table(DROPS.name)):
        return {}
    statement = f"""
        SELECT strategy, sum(is_kept) / count(*) AS share FROM (
            SELECT strategy, 1 AS is_kept FROM {MERGED_DOCUMENTS.name}
            UNION ALL
            SELECT strategy, 0 FROM {DROPS.name} WHERE stage <> '{BEFORE_GENERATION}'
        ) GROUP BY 1 HAVING count(*) >= {LEAST_DOCUMENTS}
    """  # noqa: S608
    return {row["strategy"]: row["share"] for row in lake.query(statement).to_pylist()}
