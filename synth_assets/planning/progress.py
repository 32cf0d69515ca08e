"""What a run tells whoever watches: a Protocol with a silent default; `synth run` draws it, a Dagster run logs it."""

from __future__ import annotations

from typing import Protocol

from synth_assets.core.purchasing import PurchaseReport


class RunProgress(Protocol):
    """Told what happens; never asked anything, and must be quick."""

    def step(self, asset: str, partition_count: int) -> None:
        """A Dagster run for so many partitions of an asset begins."""
        ...

    def buying(self, document_count: int) -> None:
        """Answers for so many (document, strategy) pairs are about to be looked up and bought."""
        ...

    def document(self) -> None:
        """The calls of one more (document, strategy) pair are known."""
        ...

    def bought(self, report: PurchaseReport) -> None:
        """Counts so far of the purchase under way."""
        ...


class SilentProgress:
    """Watches nothing."""

    def step(self, asset: str, partition_count: int) -> None:
        """Nothing."""

    def buying(self, document_count: int) -> None:
        """Nothing."""

    def document(self) -> None:
        """Nothing."""

    def bought(self, report: PurchaseReport) -> None:
        """Nothing."""
