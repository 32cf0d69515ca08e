"""Distillation: the key information of a passage in two or three dense paragraphs."""

from synth_assets.core.gates import standard_gates
from synth_assets.core.rules import PROSE_RULES
from synth_assets.core.strategy import Strategy, TokenLimits

STRATEGY = Strategy(
    name="distill",
    title="Distill",
    description="The key information of the passage, condensed to two or three dense paragraphs.",
    source="Nemotron-CC (arXiv:2412.02595); token limits of NeMo Curator's nemotron_cc stages",
    instructions=(
        "Condense the text that the user gives to two or three dense paragraphs. "
        "Keep its key facts, names, numbers, causes and terms; leave out repetition and filler; add nothing. "
        "Write about the subject, never about the text, in the language of the text. "
        "Use no headings, lists or comments. "
        "Reply with the condensed text and nothing else."
    ),
    request="Condense this text.\n\nTitle: {title}\n\nText:\n{segment}",
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
    # Twice the source is no distillate.
    gates=standard_gates(most_ratio=2.0),
    # A condensed document that silently lacks a part claims to be the whole of it.
    is_segment_independent=False,
)
