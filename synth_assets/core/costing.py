"""Which architecture the bill is computed for, and what is said where the model's own is not known."""

from __future__ import annotations

from dataclasses import dataclass

from resources.inference import ServedModel
from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.models import NEMOTRON_3_NANO, UnknownModelError, find


@dataclass(frozen=True)
class CostModel:
    """An architecture, and a warning where it stands in for a model whose own is not known."""

    architecture: ModelArchitecture
    warning: str = ""


def cost_model(model: ServedModel | None) -> CostModel:
    """The served model's architecture; Nemotron-3 Nano's, with a warning, where there is none to be found."""
    if model is None:
        return CostModel(NEMOTRON_3_NANO, f"No model is known yet; costs are those of {NEMOTRON_3_NANO.name}.")
    try:
        return CostModel(find(model.name, model.root))
    except UnknownModelError as error:
        return CostModel(NEMOTRON_3_NANO, f"{error} Until then costs are those of {NEMOTRON_3_NANO.name}.")
