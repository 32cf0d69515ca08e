from pathlib import Path

from resources.lake import Lake
from resources.ledger import Ledger
from resources.tiny_gpt2 import save_tiny_gpt2
from synth_assets.assets.reference import ReferenceScorer


def test_a_text_that_was_scored_by_the_same_weights_is_never_given_to_the_model_again(tmp_path: Path) -> None:
    model = save_tiny_gpt2(tmp_path / "model")

    def process() -> ReferenceScorer:
        lake = Lake(f"sqlite:{tmp_path}/catalog.sqlite", str(tmp_path / "data"))
        return ReferenceScorer(str(model), tmp_path, Ledger(lake))

    first, second = process(), process()
    scores = first.score(["Frost in May.", "The river rose.", "Frost in May."])
    assert first.computed_count == 2
    assert second.score(["The river rose.", "A new text.", "Frost in May."])[::2] == [scores[1], scores[0]]
    assert second.computed_count == 1
