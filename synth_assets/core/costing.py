"""Which architecture the bill is computed for, and what is said where the model's own is not known."""

from __future__ import annotations

from dataclasses import dataclass

from resources.hub_config import hub_config
from resources.inference import ServedModel
from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.models import NEMOTRON_3_NANO, ConfigSource, UnknownModelError, find


@dataclass(frozen=True)
class CostModel:
    """An architecture, and a warning where it stands in for a model whose own is not known."""

    architecture: ModelArchitecture
    warning: str = ""


def cost_model(model: ServedModel | None, config_source: ConfigSource = hub_config) -> CostModel:
    """The served model's architecture; Nemotron-3 Nano's, with a warning, where there is none to be found.

    A model outside the catalogue whose weights lie in no local folder is looked up in the hub's cache and, for at most
    a few seconds and once a process, on the hub.
    """
    if model is None:
        return CostModel(NEMOTRON_3_NANO, f"No model is known yet; costs are those of {NEMOTRON_3_NANO.name}.")
    try:
        return CostModel(find(model.name, model.root, config_source))
    except UnknownModelError as error:
        return CostModel(NEMOTRON_3_NANO, f"{error} Until then costs are those of {NEMOTRON_3_NANO.name}.")
