"""Distillation: the key information of a passage in two or three dense paragraphs."""

from synth_assets.core.rules import PROSE_RULES
from synth_assets.core.strategy import Strategy, TokenLimits

STRATEGY = Strategy(
    name="distill",
    title="Distill",
    description="The key information of the passage, condensed to two or three dense paragraphs.",
    source="Nemotron-CC (arXiv:2412.02595); token limits of NeMo Curator's nemotron_cc stages",
    instructions=(
        "You condense passages without losing what matters. "
        "Write two or three dense paragraphs that keep the key facts, names, numbers, causes and terms of "
        "the passage and leave out repetition and filler. "
        "State only what the passage says, in its language, and do not speak about the passage itself. "
        "Use no headings, lists or comments. "
        "Reply with the condensed text and nothing else."
    ),
    request="Condense the passage below.\n\nTitle: {title}\n\nPassage:\n{segment}",
    sampling_temperature=0.5,
    sampling_top_p=0.9,
    limits=TokenLimits(
        min_document_tokens=30,
        min_segment_tokens=10,
        max_input_tokens=2000,
        max_output_tokens=1598,
        min_final_tokens=50,
    ),
    rules=PROSE_RULES,
    # A condensed document that silently lacks a part claims to be the whole of it.
    is_segment_independent=False,
)
