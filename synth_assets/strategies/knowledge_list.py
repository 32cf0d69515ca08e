"""Knowledge list: the facts of a passage, one to a line."""

from synth_assets.core.gates import standard_gates
from synth_assets.core.rules import PROSE_RULES, strip_list_markers
from synth_assets.core.strategy import Strategy, TokenLimits

STRATEGY = Strategy(
    name="knowledge_list",
    title="Knowledge list",
    description="The passage's facts as a list: one self-contained sentence on each line.",
    source="Nemotron-CC (arXiv:2412.02595); token limits of NeMo Curator's nemotron_cc stages",
    instructions=(
        "List the facts in the text that the user gives. "
        'Write each fact as one complete sentence on a line of its own, starting with "- ". '
        "Name the subject in every sentence instead of using a pronoun, so that each line can be read alone. "
        "Keep names, numbers and dates exactly; add nothing, and say nothing twice. "
        "Write about the subject, never about the text, in the language of the text. "
        "Reply with the list and nothing else."
    ),
    request="List the facts in this text.\n\nTitle: {title}\n\nText:\n{segment}",
    sampling_temperature=0.5,
    sampling_top_p=0.9,
    limits=TokenLimits(
        min_document_tokens=30,
        min_segment_tokens=30,
        max_input_tokens=1000,
        max_output_tokens=598,
        min_final_tokens=50,
    ),
    rules=(*PROSE_RULES, strip_list_markers),
    # Each line names its subject again; four times the source is more than that.
    gates=standard_gates(most_ratio=4.0),
    # Each line stands alone, so the lines of other segments lose nothing when one gives none.
    is_segment_independent=True,
    separator="\n",
)
