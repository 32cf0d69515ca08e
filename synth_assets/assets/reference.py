"""The reference model for perplexity with its memory: a text that was scored once is never scored again.

In: resolving the model, looking up and keeping scores. Out: the computation (`core.perplexity`), which is imported
only when a text really has to be scored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from resources.ledger import Ledger, PerplexityScore
from synth_assets.core.reference_model import ReferenceModel, resolve_reference_model

if TYPE_CHECKING:
    from synth_assets.core.perplexity import PerplexityScorer, TextScore
    from synth_assets.core.source_support import SourcePair, SourceSupport


class ReferenceScorer:
    """Scores texts with the configured reference model, from the ledger where it has the text already."""

    def __init__(self, setting: str | None, models_dir: Path, ledger: Ledger) -> None:
        self._setting = setting
        self._models_dir = models_dir
        self._ledger = ledger
        self.on_scored: Callable[[int], None] = lambda count: None
        """Told how many texts more have a score."""
        self.computed_count = 0
        """Texts that the model itself scored; the others were known."""

    @cached_property
    def model(self) -> ReferenceModel:
        """The resolved model; raises SynthError with the remedy where none can be had."""
        return resolve_reference_model(self._setting, self._models_dir)

    def identity(self) -> str:
        """Name and content of the model: the version that perplexities rest on."""
        return self.model.identity

    @cached_property
    def _scorer(self) -> PerplexityScorer:
        from synth_assets.core.perplexity import PerplexityScorer

        return PerplexityScorer(self.model.path)

    def score(self, texts: Sequence[str]) -> list[TextScore]:
        """Scores in input order; new ones are kept for ever by text and model."""
        from synth_assets.core.perplexity import TextScore

        hashes = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in texts]
        known = {
            text_hash: TextScore(*values)
            for text_hash, values in self._ledger.known_perplexities(self.identity(), hashes).items()
        }
        missing = {text_hash: text for text_hash, text in zip(hashes, texts, strict=True) if text_hash not in known}
        if missing:
            scored = dict(zip(missing, self._counted(self._scorer.score(missing.values())), strict=True))
            self._ledger.record_perplexities(
                self.identity(),
                {
                    text_hash: PerplexityScore(
                        score.negative_log_likelihood, score.scored_token_count, score.byte_count
                    )
                    for text_hash, score in scored.items()
                },
            )
            known.update(scored)
        self.on_scored(len(texts) - len(missing))
        return [known[text_hash] for text_hash in hashes]

    def source_supports(self, pairs: Iterable[SourcePair]) -> Iterator[SourceSupport | None]:
        """How much of each text its source explains, in input order; nothing is kept here."""
        from synth_assets.core.source_support import source_supports

        waiting = iter(pairs)
        first = next(waiting, None)
        # Without a pair the model is not loaded.
        return iter(()) if first is None else source_supports(self._scorer.model, chain([first], waiting))

    def _counted(self, scores: Iterator[TextScore]) -> Iterator[TextScore]:
        for score in scores:
            self.computed_count += 1
            self.on_scored(1)
            yield score
