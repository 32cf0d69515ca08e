"""What a run tells whoever watches: a Protocol with a silent default; `synth run` draws it, a Dagster run logs it."""

from __future__ import annotations

from typing import Protocol

from synth_assets.core.purchasing import PurchaseReport


class RunProgress(Protocol):
    """Told what happens; never asked anything, and must be quick."""

    def step(self, asset: str, partition_count: int) -> None:
        """A Dagster run for so many partitions of an asset begins."""
        ...

    def begin(self, label: str, total: int) -> None:
        """So many documents are about to be worked on, one after the other."""
        ...

    def advance(self, count: int = 1) -> None:
        """So many more of them are done, or (where a model is asked) their calls are known."""
        ...

    def bought(self, report: PurchaseReport) -> None:
        """Counts so far of the purchase under way; told on a thread of its own."""
        ...

    def end(self) -> None:
        """What was begun last is done."""
        ...


class SilentProgress:
    """Watches nothing."""

    def step(self, asset: str, partition_count: int) -> None:
        """Nothing."""

    def begin(self, label: str, total: int) -> None:
        """Nothing."""

    def advance(self, count: int = 1) -> None:
        """Nothing."""

    def bought(self, report: PurchaseReport) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""
