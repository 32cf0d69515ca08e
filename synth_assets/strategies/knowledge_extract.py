"""Knowledge extraction: what a passage teaches, explained as a textbook would."""

from synth_assets.core.gates import standard_gates
from synth_assets.core.rules import PROSE_RULES
from synth_assets.core.strategy import Strategy, TokenLimits

STRATEGY = Strategy(
    name="knowledge_extract",
    title="Knowledge extract",
    description="What the passage teaches, as a textbook explains it: terms, causes and relations.",
    source="Nemotron-CC (arXiv:2412.02595); token limits of NeMo Curator's nemotron_cc stages",
    instructions=(
        "Explain the subject of the text that the user gives, as a textbook would to a student. "
        "Define the terms, say how and why things are connected, and keep exact names, numbers and dates. "
        "Leave out what teaches nothing; add no facts that the text does not give. "
        "Write about the subject, never about the text, in the language of the text. "
        "Write self-contained paragraphs without headings, lists or comments. "
        "Reply with the explanation and nothing else."
    ),
    request="Explain what this text teaches.\n\nTitle: {title}\n\nText:\n{segment}",
    sampling_temperature=0.5,
    sampling_top_p=0.9,
    limits=TokenLimits(
        min_document_tokens=30,
        min_segment_tokens=30,
        max_input_tokens=1400,
        max_output_tokens=1398,
        min_final_tokens=50,
    ),
    rules=PROSE_RULES,
    # A textbook explains at length, but only what it was given.
    gates=standard_gates(most_ratio=4.0),
    # The prompt asks for self-contained explanations, and knowledge makes no claim to cover the document.
    is_segment_independent=True,
)
