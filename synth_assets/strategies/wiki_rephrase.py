"""Wikipedia-style rephrasing: the same facts in clean encyclopedic prose."""

from synth_assets.core.gates import copies_its_source, standard_gates
from synth_assets.core.rules import PROSE_RULES
from synth_assets.core.strategy import Strategy, TokenLimits

STRATEGY = Strategy(
    name="wiki_rephrase",
    title="Wikipedia rephrase",
    description="The whole passage again, in the neutral and well-formed prose of an encyclopedia.",
    source="Nemotron-CC (arXiv:2412.02595); token limits of NeMo Curator's nemotron_cc stages",
    instructions=(
        "Rewrite the text that the user gives, in the style of a good encyclopedia. "
        "Use your own words and sentence structure, in neutral, clear prose and in the language of the text. "
        "Keep every fact, name, number and date; add none. "
        "Write about the subject, never about the text. "
        "Write plain paragraphs without headings, lists or comments. "
        "Reply with the rewritten text and nothing else."
    ),
    request="Rewrite this text.\n\nTitle: {title}\n\nText:\n{segment}",
    sampling_temperature=0.5,
    sampling_top_p=0.9,
    limits=TokenLimits(
        min_document_tokens=5,
        min_segment_tokens=5,
        max_input_tokens=512,
        max_output_tokens=510,
        min_final_tokens=50,
    ),
    rules=PROSE_RULES,
    # It says the whole passage again: under a fifth is a summary, and nine tenths to the letter is no second wording.
    gates=(*standard_gates(least_ratio=0.2, most_ratio=4.0), copies_its_source()),
    # Running prose: a sentence after a gap would refer to what is not there.
    is_segment_independent=False,
)
