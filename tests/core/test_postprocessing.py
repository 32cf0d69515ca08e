import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from resources.inference import Completion
from synth_assets.core import markdown, rules
from synth_assets.core.markdown import strip_markdown
from synth_assets.core.postprocessing import (
    UnusableAnswerError,
    clean,
    finish_segment,
    looks_like_refusal,
    parse_structured,
    trim_to_sentence,
)
from synth_assets.core.rules import PROSE_RULES
from synth_assets.core.strategy import AnswerContext, Strategy, TokenLimits

CONTEXT = AnswerContext("Salt mines", "Salt was mined here.", "key")
FACT = "The mine at Hallein was worked for 2,500 years."

# Fragments that rules look for, so that hypothesis combines them instead of searching for them.
fragments = st.sampled_from(
    [
        "<think>", "</think>", "Sure! ", "Here is the text: ", "Here is a rephrased version:\n", "Summary:", "**",
        "*", "_", "__", "`", "```\n", "\n```", '"', "“", "”", "«", "»", "# ", "Salt mines", "\n", "\n\n", "- ",
        "1. ", "a) ", "[a](b)", "[", "](", ")", "![", "> ", "|", "|---|", "---\n", "I hope this helps! ", " ",
        "Let me know if so.", "2*3*4", "snake_case", "word", "Dr. Who", ".", "?", ":", "<", ">", "~~", "\\", "!",
        "[1]: x\n", "[^1]", "é漢", "\x0b", "\u00a0", "===\n", "Note: I have", "(", "Title: ",
    ]
)  # fmt: skip
answers = st.one_of(st.text(max_size=80), st.lists(fragments, max_size=14).map("".join))

ALL_RULES = [*PROSE_RULES, rules.strip_list_markers]


def is_subsequence(short: str, long: str) -> bool:
    characters = iter(long)
    return all(character in characters for character in short)


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.__name__)
@settings(max_examples=250, deadline=None)
@given(answer=answers)
def test_a_rule_is_idempotent_and_only_removes(rule, answer):
    cleaned = rule(answer, CONTEXT)

    assert rule(cleaned, CONTEXT) == cleaned
    assert is_subsequence(cleaned, answer)


@settings(max_examples=300, deadline=None)
@given(answer=answers, chosen=st.permutations(ALL_RULES))
@example('"Here is the text: "a" ', ALL_RULES)
def test_rules_in_any_order_are_idempotent_together(answer, chosen):
    cleaned = clean(answer, CONTEXT, chosen)

    assert clean(cleaned, CONTEXT, chosen) == cleaned
    assert is_subsequence(cleaned, answer)


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize(
    "answer",
    [
        FACT,
        f"{FACT}\n\nIts brine was boiled in town.",
        'Alchemists turned "base metals" (lead) into gold, b) or so they said - at 5 * 3 * 2 coins, 1. class: "noble".',
        "In 1912. 3. Liga: the text is old – here is why. Sure, she said: let me know.",
    ],
)
def test_a_rule_leaves_plain_prose_alone(rule, answer):
    expected = answer.replace("\n\n", "\n") if rule is rules.strip_list_markers else answer

    assert rule(answer, CONTEXT) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (f"<think>Let me see.</think>\n\n{FACT}", FACT),
        (f"Okay, the user wants…\n</think>\n{FACT}", FACT),
        ("<think>Let me see. The passage", ""),
        (f"<think>a</think>b</think>{FACT}", FACT),
        ("The <think> tag opens a thought.", "The <think> tag opens a thought."),
    ],
)
def test_thoughts_are_removed(answer, expected):
    assert rules.strip_thinking(answer, CONTEXT) == expected


@pytest.mark.parametrize(
    "opening",
    [
        "Here is a rephrased version of the passage:\n\n",
        "Here's the rewritten text: ",
        "Sure! Here is the condensed passage:\n",
        "Certainly, here is a list of facts:\n",
        "Sure!\n\n",
        "Paraphrased text: ",
        "**Rephrased passage:** ",
        "**Summary**:\n",
        "## Rewritten Text\n\n",
        "The rewritten passage is as follows:\n",
        "Below is an explanation of what the passage teaches:\n\n",
        "Here are the key facts about salt, as a list\n\n",
        "I have rewritten the passage: ",
        "Title: Salt mines\n\nPassage:\n",
        "The White Gold\n\nTitle: Salt mines\n\nPassage:\n",
    ],
)
def test_an_announcement_at_the_start_is_removed(opening):
    assert rules.strip_opening(opening + FACT, CONTEXT) == FACT


@pytest.mark.parametrize(
    "answer",
    [
        "Here is a rephrased version of the passage:",
        "Sure!",
        "Salt has one use above all: food.",
        "Certainly the oldest mine is at Hallstatt.",
        "Text messages replaced letters.",
        "Here the road ends: the lake begins.",
        "He wrote: “Here is the text: burn it.”",
    ],
)
def test_what_only_resembles_an_announcement_stays(answer):
    assert rules.strip_opening(answer, CONTEXT) == answer


@pytest.mark.parametrize(
    "closing",
    [
        "\n\nI hope this helps!",
        " Let me know if you need anything else.",
        "\n\nI hope this is useful. Please let me know if I should change it.",
        "\n\n(Note: I have kept all numbers.)",
        "\n\nThis rewritten version keeps all facts.",
        " The author has rewritten the passage.",
        "\nWould you like me to shorten it?",
        "\n\n*Feel free to ask for more*",
    ],
)
def test_chat_at_the_end_is_removed(closing):
    assert rules.strip_closing(FACT + closing, CONTEXT) == FACT


@pytest.mark.parametrize(
    "answer", ["I hope this helps!", f"{FACT} Let me know, she wrote. {FACT}", f"{FACT} Note the early date."]
)
def test_what_only_resembles_chat_stays(answer):
    assert rules.strip_closing(answer, CONTEXT) == answer


@pytest.mark.parametrize("heading", ["# Salt mines\n\n", "**Salt mines**\n", "Title: Salt Mines\n\n", "Salt mines:\n"])
def test_an_echo_of_the_title_is_removed(heading):
    assert rules.strip_title(heading + FACT, CONTEXT) == FACT


@pytest.mark.parametrize("answer", ["Salt mines", f"Salt mines are deep.\n{FACT}", f"Salt\n{FACT}"])
def test_a_line_that_is_not_the_title_stays(answer):
    assert rules.strip_title(answer, CONTEXT) == answer


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (f'"{FACT}"', FACT),
        (f"“{FACT}”", FACT),
        (f'“"{FACT}"”', FACT),
        (f'"{FACT}', FACT),
        ('"White gold" was its name, not "salt"', '"White gold" was its name, not "salt"'),
        ("“White gold” and “salt”", "“White gold” and “salt”"),
        ('"White gold" was its name.', '"White gold" was its name.'),
    ],
)
def test_quotes_go_only_where_they_wrap_the_whole_answer(answer, expected):
    assert rules.strip_quotes(answer, CONTEXT) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (f"```\n{FACT}\n```", FACT),
        (f"```markdown\n{FACT}\n```\n", FACT),
        (f"```text\n{FACT}", FACT),
        (f"```\na\n```\n{FACT}\n```\nb\n```", f"```\na\n```\n{FACT}\n```\nb\n```"),
    ],
)
def test_a_fence_goes_only_where_it_wraps_the_whole_answer(answer, expected):
    assert rules.strip_fence(answer, CONTEXT) == expected


def test_list_markers_go_and_numbers_that_belong_to_the_fact_stay():
    answer = (
        "- Salt is a mineral.\n\n* 1. Brine is salt water.\n2) 1857 was dry.\n1945 was wet.\n---\n\t• -5 °C is cold."
    )

    assert rules.strip_list_markers(answer, CONTEXT).split("\n") == [
        "Salt is a mineral.",
        "Brine is salt water.",
        "1857 was dry.",
        "1945 was wet.",
        "-5 °C is cold.",
    ]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("2*3*4 = 24 and a * b * c", "2*3*4 = 24 and a * b * c"),
        ("snake_case_names, __init__ and f(*args, **kw)", "snake_case_names, __init__ and f(*args, **kw)"),
        ("**Bold**, *italic*, ***both*** and _low_", "Bold, italic, both and low"),
        ("~~gone~~ and **bold *inside***", "gone and bold inside"),
        ("这是**重点**内容", "这是重点内容"),
        ("# Heading #\n\ntext\n\n### C# ###", "Heading\n\ntext\n\nC#"),
        ("see [the *mine*](http://a.b/c_(d)_e) and ![a map](map.png)", "see the mine and a map"),
        ("see [the mine][1] and [2][3]\n\n[1]: http://a.b", "see the mine and [2][3]"),
        ("salt[1][2], a[i][j], <https://a.b> and note[^4]", "salt[1][2], a[i][j], https://a.b and note"),
        ("`code` and ``two`` and a lone `", "code and two and a lone `"),
        ("before\n```python\nx = 1\n```\nafter", "before\nx = 1\nafter"),
        ("| a | b |\n|---|:-:|\n| 1 | 2 |", "a | b\n1 | 2"),
        ("> quoted\n> > twice\n\n***\n\n- item\n* other", "quoted\ntwice\n\n\n- item\n* other"),
        ("Heading\n=======\n5 < 6 > 4", "Heading\n5 < 6 > 4"),
        ("> ## | a | b |\n> - - -\ntext", "a | b\ntext"),
        ("> # a `#`", "a #"),
        ("a | b |\n--- | --- |\n1 | 2 |", "a | b |\n1 | 2 |"),
        (r"\*kept\* and \_kept_ but *gone*", r"\*kept\* and \_kept_ but gone"),
        ("call __init__*now*, __new_name__ and __a __b__ c__", "call __init__now, __new_name__ and a __b__ c"),
        ("a ```b``` `c` d``` ````", "a ```b``` c d``` ````"),
        ("*a _b* c_, *d\n\ne*, ****f****, ~g~ and ~~~h~~~", "a b c, *d\n\ne*, ****f****, ~g~ and ~~~h~~~"),
        ("![](a)[x]: b\n\n[y][x]\n  \t- - -\n[^1][z]: c", "y"),
    ],
)  # fmt: skip
def test_markdown_goes_and_its_words_stay(answer, expected):
    assert strip_markdown(answer, CONTEXT) == expected


@settings(max_examples=300, deadline=None)
@given(answer=answers)
def test_no_block_of_markdown_is_passed_over_for_the_marks_that_its_lines_begin_with(answer):
    for first_marks, pattern, _ in markdown._BLOCKS:
        if pattern.search(answer):
            assert markdown._line_marks(answer) & set(first_marks)


AWKWARD = [
    "[a](", "[", "**a ", "*a", "`", "_a *b ", "|", "| ", "-", "- ", ">", "[a][b", "[x]", "(", "[a]((", "#", "# ",
    "[^", "<http://", "*(a_b ", "</think>", "<think>", "Sure! ", "Here is the text: ", '"', "“", "Let me know. ", ".",
    "。", "1. ", "\n", " ",
]  # fmt: skip


@pytest.mark.parametrize("unit", AWKWARD)
def test_awkward_answers_of_full_length_are_cleaned(unit):
    # 6,000 characters, the most that an answer has: patterns that backtrack would run into the test's time limit.
    answer = "x" + (unit * 6000)[:6000] + "x"

    assert is_subsequence(clean(answer, CONTEXT, ALL_RULES), answer)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is old. It is de", "It is old."),
        ("It is old.", "It is old."),
        ("It is “old.” It is", "It is “old.”"),
        ("It was led by Dr. Hi", ""),
        ("It was founded in 1857. It rose to 3.", "It was founded in 1857."),
        ("- Salt is old\n- Brine is sal", "- Salt is old"),
        ("1. Salt is old\n2. Brine", "1. Salt is old"),
        ("Salt mines\nThe mine was op", ""),
        ("塩は古い。鉱山は", "塩は古い。"),
        ("", ""),
    ],
)
def test_cut_text_is_trimmed_to_its_last_whole_sentence_or_item(text, expected):
    assert trim_to_sentence(text) == expected


@given(text=answers)
@example("- Salt\n")
def test_trimming_keeps_a_beginning_that_is_whole(text):
    trimmed = trim_to_sentence(text)

    assert text.startswith(trimmed)
    # With the line break that tells a whole list item from one that was cut.
    assert trim_to_sentence(f"{trimmed}\n") == trimmed


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that request.",
        "I cannot rewrite this passage, as it is incomplete.",
        "As an AI language model, I am unable to access the document.",
        "Unfortunately, I do not have enough context to complete this.",
        "Please provide the passage you would like me to rewrite.",
    ],
)
def test_refusals_are_recognised(text):
    assert looks_like_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        FACT,
        "Unfortunately, the expedition was unable to complete its journey.",
        "I can't live without you is a song of 1972.",
        "The pilots were unable to help.",
        "I am sorry is what the letter said.",
        "I'm sorry, but I can't help with all of it, yet here is the rest. " + FACT * 20,
    ],
)
def test_prose_is_not_taken_for_a_refusal(text):
    assert not looks_like_refusal(text)


class Wire(BaseModel):
    fact: str = Field(min_length=3)


class Stored(BaseModel):
    fact: str


def to_stored(wire: BaseModel) -> Stored:
    assert isinstance(wire, Wire)
    if wire.fact.startswith("bad"):
        raise ValueError("the fact is bad")
    return Stored(fact=wire.fact)


def a_strategy(**changes) -> Strategy:
    return Strategy(
        **{
            "name": "plain",
            "title": "Plain",
            "description": "Plain.",
            "source": "none",
            "instructions": "Rewrite.",
            "request": "{segment}",
            "sampling_temperature": 0.5,
            "sampling_top_p": 0.9,
            "limits": TokenLimits(1, 1, 100, 100, 1),
            "rules": PROSE_RULES,
            **changes,
        }
    )


STRUCTURED = a_strategy(
    wire_model=Wire,
    to_structured=to_stored,
    to_text=lambda structured, context: f"Fact: {structured.fact}",
    rules=(strip_markdown,),
)


def answer(text: str, finish_reason="stop", **more) -> Completion:
    return Completion("key", text, finish_reason, completion_tokens=7, **more)


def test_a_good_answer_is_cleaned():
    finished = finish_segment(
        answer(f"<think>hm</think>Sure! Here is the text:\n\n**Salt mines**\n\n{FACT}"), a_strategy(), CONTEXT
    )

    assert (finished.text, finished.structured, finished.reason) == (FACT, None, None)


@pytest.mark.parametrize(
    ("completion", "reason", "detail"),
    [
        (answer(""), "empty", ""),
        (answer("<think>hm</think>"), "empty", "thoughts"),
        (answer("<think>hm", "length"), "truncated", "7 tokens"),
        (answer("no end of a sent", "length"), "truncated", "7 tokens"),
        (answer("Sure! I'm sorry, but I cannot help with that."), "refused", "cannot help"),
        (answer("half", "content_filter"), "refused", "filter"),
        (answer("", "context_overflow"), "context_overflow", ""),
        (answer("***"), "empty", "clean-up"),
    ],
)
def test_an_unusable_answer_is_a_drop_with_reason_and_detail(completion, reason, detail):
    finished = finish_segment(completion, a_strategy(), CONTEXT)

    assert (finished.text, finished.structured, finished.reason) == ("", None, reason)
    assert detail in finished.detail


def test_a_cut_answer_is_trimmed_or_dropped_as_the_strategy_says():
    cut = answer(f"{FACT} Its brine was", "length")

    assert finish_segment(cut, a_strategy(), CONTEXT).text == FACT
    assert finish_segment(cut, a_strategy(on_truncation="drop"), CONTEXT).reason == "truncated"


def test_a_structured_answer_is_checked_cleaned_and_rendered():
    finished = finish_segment(answer('```json\n{"fact": "**Salt** is old."}\n```'), STRUCTURED, CONTEXT)

    assert finished.structured == Stored(fact="Salt is old.")
    assert (finished.text, finished.reason) == ("Fact: Salt is old.", None)


@pytest.mark.parametrize(
    ("completion", "reason", "detail"),
    [
        (answer('{"fact": "Salt', "length"), "truncated", "7 tokens"),
        (answer('{"fact": 5}'), "invalid_schema", "fact: "),
        (answer("{}"), "invalid_schema", "fact: "),
        (answer('{"fact": "bad"}'), "invalid_schema", "the fact is bad"),
        (answer('{"fact": "***"}'), "invalid_schema", "fact: "),
        (answer("I'm sorry, but I can't help with that."), "refused", "can't help"),
        (answer(" "), "empty", ""),
    ],
)
def test_a_broken_structured_answer_is_a_drop_with_reason_and_detail(completion, reason, detail):
    finished = finish_segment(completion, STRUCTURED, CONTEXT)

    assert (finished.text, finished.structured, finished.reason) == ("", None, reason)
    assert detail in finished.detail


def test_a_whole_structure_counts_even_if_the_limit_was_reached_with_its_last_token():
    assert finish_segment(answer('{"fact": "Salt is old."}', "length"), STRUCTURED, CONTEXT).reason is None


def test_a_failed_request_is_no_answer():
    with pytest.raises(ValueError, match="timeout"):
        finish_segment(answer("", error_kind="timeout"), a_strategy(), CONTEXT)


def test_an_unusable_structure_names_its_reason():
    with pytest.raises(UnusableAnswerError) as raised:
        parse_structured(answer("{"), Wire)

    assert raised.value.reason == "invalid_schema"
