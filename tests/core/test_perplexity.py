import math
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.errors import SynthError
from synth_assets.core.language_model import CPU_BATCH_TOKENS, CUDA_BATCH_TOKENS, Hardware, choose_hardware
from synth_assets.core.perplexity import PerplexityScorer, TextScore
from synth_assets.core.windows import Window, batches, padded, scored_positions, windows

VOCABULARY = 320
CONTEXT = 24
SENTENCES = (
    "The river carries silt to the delta.",
    "Größe, naïve, 東京: not only ASCII.",
    "x",
    "Limestone caves form where water dissolves rock over thousands of years, drop by drop. " * 3,
    "",
    "A volcano that has not erupted for ten thousand years is called extinct, with exceptions.",
    "Short again.",
)


def _save_tokenizer(folder: Path, has_bos: bool) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    specials = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"} if has_bos else {}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **specials).save_pretrained(folder)


def _save_model(folder: Path, kind: str, has_bos: bool = True) -> Path:
    """A tiny random model; weights large enough that its predictions differ from token to token."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": CONTEXT,
    }  # fmt: skip
    if kind == "gpt2":
        shape = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT}
    if kind == "gemma2":
        shape["final_logit_softcapping"] = 2.0
    ids = {"bos_token_id": 0 if has_bos else None, "eos_token_id": 0, "pad_token_id": None}
    torch.manual_seed(7)
    config = AutoConfig.for_model(kind, initializer_range=0.4, **shape, **ids)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    _save_tokenizer(folder, has_bos)
    return folder


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small lose time to a second thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    made: dict[tuple[str, bool], Path] = {}

    def folder(kind: str, has_bos: bool = True) -> Path:
        if (kind, has_bos) not in made:
            made[kind, has_bos] = _save_model(tmp_path_factory.mktemp(kind), kind, has_bos)
        return made[kind, has_bos]

    return folder


@cache
def _load_float32(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@cache
def _direct(folder: Path, text: str, has_bos: bool) -> TextScore:
    """One forward pass for each token, over exactly the context that the definition gives it."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = _load_float32(folder)
    ids = ([0] if has_bos else []) + tokenizer(text, add_special_tokens=False)["input_ids"]
    nats = 0.0
    for position in range(1, len(ids)):
        overhang = max(0, position + 1 - CONTEXT)
        start = math.ceil(overhang / (CONTEXT // 2)) * (CONTEXT // 2)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids[start:position]])).logits[0, -1]
        nats -= torch.log_softmax(logits.double(), dim=-1)[ids[position]].item()
    return TextScore(nats, max(len(ids) - 1, 0), len(text.encode()))


@pytest.mark.parametrize(("kind", "has_bos"), [("gpt2", True), ("llama", True), ("llama", False), ("gemma2", True)])
@pytest.mark.parametrize("max_batch_tokens", [1, 50, 4096])
def test_batched_scores_equal_a_direct_unbatched_computation_to_four_digits(
    kind: str, has_bos: bool, max_batch_tokens: int, model_folder: Callable[..., Path]
) -> None:
    folder = model_folder(kind, has_bos)
    scorer = PerplexityScorer(folder, dtype="float32", max_batch_tokens=max_batch_tokens)
    for text, score in zip(SENTENCES, scorer.score(SENTENCES), strict=True):
        expected = _direct(folder, text, has_bos)
        assert score.scored_token_count == expected.scored_token_count
        assert score.byte_count == expected.byte_count
        assert score.perplexity == (expected.perplexity and pytest.approx(expected.perplexity, rel=1e-4))
        assert score.bits_per_byte == (expected.bits_per_byte and pytest.approx(expected.bits_per_byte, rel=1e-4))


def test_the_long_test_text_needs_several_windows(model_folder: Callable[..., Path]) -> None:
    scorer = PerplexityScorer(model_folder("gpt2"))
    assert len(scorer.model.token_ids(SENTENCES[3])) > 2 * CONTEXT
    assert scorer.model.context_tokens == CONTEXT


def test_logits_that_are_capped_are_computed_by_the_whole_model(model_folder: Callable[..., Path]) -> None:
    assert not PerplexityScorer(model_folder("gemma2")).model.is_head_separable
    assert PerplexityScorer(model_folder("gpt2")).model.is_head_separable


@pytest.mark.parametrize("kind", ["gpt2", "gemma2"])
def test_logits_made_in_small_blocks_give_the_same_scores(
    kind: str, model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = list(PerplexityScorer(model_folder(kind), dtype="float32").score(SENTENCES))
    monkeypatch.setattr("synth_assets.core.token_losses.CPU_LOGIT_BYTES", 4 * VOCABULARY * 3)
    monkeypatch.setattr("synth_assets.core.token_losses.MIN_BLOCK_TOKENS", 7)
    in_blocks = list(PerplexityScorer(model_folder(kind), dtype="float32").score(SENTENCES))
    for left, right in zip(whole, in_blocks, strict=True):
        assert left.negative_log_likelihood == pytest.approx(right.negative_log_likelihood, rel=1e-5)


@pytest.mark.parametrize("has_bias", [False, True])
def test_losses_of_states_are_the_cross_entropy_of_all_logits(has_bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from synth_assets.core.token_losses import losses_of_states

    monkeypatch.setattr("synth_assets.core.token_losses.CPU_LOGIT_BYTES", 0)
    generator = torch.Generator().manual_seed(3)
    states = torch.randn(40, 16, generator=generator) * 30
    weight = torch.randn(1300, 16, generator=generator)
    bias = torch.randn(1300, generator=generator) * 50 if has_bias else None
    targets = torch.randint(0, 1300, (40,), generator=generator)
    logits = torch.nn.functional.linear(states, weight, bias)
    expected = torch.nn.functional.cross_entropy(logits.double(), targets, reduction="none")
    torch.testing.assert_close(losses_of_states(states, targets, weight, bias), expected, rtol=1e-4, atol=1e-4)


def test_no_layer_of_gpt2_is_left_that_writes_its_steps_out(model_folder: Callable[..., Path]) -> None:
    from transformers.activations import NewGELUActivation
    from transformers.pytorch_utils import Conv1D

    model = PerplexityScorer(model_folder("gpt2")).model.model
    assert not [layer for layer in model.modules() if isinstance(layer, Conv1D | NewGELUActivation)]


@pytest.mark.parametrize(
    ("device_type", "has_cuda_bf16", "features", "expected"),
    [
        ("cuda", True, {}, ("bfloat16", CUDA_BATCH_TOKENS)),
        ("cuda", False, {}, ("float32", CUDA_BATCH_TOKENS)),
        ("cpu", False, {"avx512_bf16": True}, ("bfloat16", CPU_BATCH_TOKENS)),
        ("cpu", False, {"amx_bf16": True}, ("bfloat16", CPU_BATCH_TOKENS)),
        ("cpu", False, {"avx2": True}, ("float32", CPU_BATCH_TOKENS)),
    ],
)
def test_a_gpu_is_taken_where_there_is_one_with_the_precision_the_hardware_computes_in(
    device_type: str,
    has_cuda_bf16: bool,
    features: dict[str, bool],
    expected: tuple[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: device_type == "cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_options: has_cuda_bf16)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    assert choose_hardware("auto", "auto") == Hardware(device_type, *expected)


def test_a_named_device_and_precision_are_taken_as_they_are() -> None:
    assert choose_hardware("cuda:1", "float16") == Hardware("cuda:1", "float16", CUDA_BATCH_TOKENS)


def test_scores_come_in_the_order_of_the_texts_over_several_buffers(
    model_folder: Callable[..., Path],
) -> None:
    scorer = PerplexityScorer(model_folder("llama"), dtype="float32", max_batch_tokens=8)
    texts = [f"{number} {SENTENCES[number % len(SENTENCES)]}" for number in range(40)]
    single = [next(scorer.score([text])) for text in texts]
    for alone, streamed in zip(single, scorer.score(texts), strict=True):
        assert streamed.byte_count == alone.byte_count
        assert streamed.negative_log_likelihood == pytest.approx(alone.negative_log_likelihood, rel=1e-4)


def test_texts_are_read_no_further_ahead_than_a_buffer(model_folder: Callable[..., Path]) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield SENTENCES[0]

    scorer = PerplexityScorer(model_folder("gpt2"), max_batch_tokens=16)
    next(scorer.score(endless()))
    assert read <= 32 * 16


def test_bf16_is_close_to_fp32(model_folder: Callable[..., Path]) -> None:
    exact = PerplexityScorer(model_folder("gpt2"), dtype="float32").score(SENTENCES)
    rounded = PerplexityScorer(model_folder("gpt2"), dtype="bfloat16").score(SENTENCES)
    for left, right in zip(exact, rounded, strict=True):
        assert right.negative_log_likelihood == pytest.approx(left.negative_log_likelihood, rel=0.03, abs=0.1)


def test_precision_and_device_are_reported(model_folder: Callable[..., Path]) -> None:
    scorer = PerplexityScorer(model_folder("gpt2"), device="cpu", dtype="bfloat16")
    assert (scorer.device_name, scorer.dtype_name) == ("cpu", "bfloat16")


def test_an_empty_text_has_no_perplexity(model_folder: Callable[..., Path]) -> None:
    for has_bos in (True, False):
        score = next(PerplexityScorer(model_folder("llama", has_bos)).score([""]))
        assert score == TextScore(0.0, 0, 0)
        assert score.perplexity is None
        assert score.bits_per_byte is None


def test_a_text_of_one_token_is_scored_only_behind_a_bos_token(model_folder: Callable[..., Path]) -> None:
    with_bos, without = (next(PerplexityScorer(model_folder("llama", bos)).score(["x"])) for bos in (True, False))
    assert with_bos.scored_token_count == 1
    assert without.scored_token_count == 0
    assert without.perplexity is None


def test_a_special_token_written_in_a_text_is_plain_text(model_folder: Callable[..., Path]) -> None:
    score = next(PerplexityScorer(model_folder("gpt2")).score(["<|endoftext|>"]))
    assert score.scored_token_count > 1


def test_the_first_token_depends_on_the_bos_token(model_folder: Callable[..., Path]) -> None:
    scorer = PerplexityScorer(model_folder("gpt2"))
    assert scorer.model.token_ids("x").tolist()[0] == 0


def test_no_texts_load_no_model() -> None:
    assert list(PerplexityScorer("/nowhere").score([])) == []


def test_a_model_that_cannot_be_loaded_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(SynthError, match="PERPLEXITY_MODEL"):
        list(PerplexityScorer(tmp_path).score(["text"]))


def test_a_model_that_looks_ahead_is_refused(tmp_path: Path) -> None:
    from transformers import BertConfig, BertLMHeadModel

    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        initializer_range=0.4, is_decoder=False,
    )  # fmt: skip
    BertLMHeadModel(config).save_pretrained(tmp_path)
    _save_tokenizer(tmp_path, has_bos=True)
    with pytest.raises(SynthError, match="looks ahead"):
        list(PerplexityScorer(tmp_path).score(["text"]))


@given(length=st.integers(0, 400), context=st.integers(2, 60))
def test_every_token_is_scored_once_with_half_a_context_before_it(length: int, context: int) -> None:
    ids = np.arange(length)
    cut = list(windows(5, ids, context))
    scored = [token for window in cut for token in window.token_ids[len(window.token_ids) - window.scored_count :]]
    assert scored == list(range(1, length))
    assert all(len(window.token_ids) <= context and window.text_index == 5 for window in cut)
    for window in cut:
        first_scored = len(window.token_ids) - window.scored_count
        assert window.token_ids[0] == 0 or first_scored >= context - context // 2


@given(
    lengths=st.lists(st.integers(2, 60), min_size=1, max_size=40),
    max_batch_tokens=st.integers(1, 300),
)
def test_batches_hold_every_window_once_within_the_limit(lengths: list[int], max_batch_tokens: int) -> None:
    items = [Window(index, np.full(length, index + 1), 1) for index, length in enumerate(lengths)]
    grouped = list(batches(items, max_batch_tokens))
    assert sorted(window.text_index for batch in grouped for window in batch) == list(range(len(lengths)))
    for batch in grouped:
        assert padded(batch).size <= max_batch_tokens or len(batch) == 1
        rows, columns = scored_positions(batch)
        assert padded(batch)[rows, columns].tolist() == [window.text_index + 1 for window in batch]


def test_perplexity_and_bits_per_byte_follow_their_definitions() -> None:
    score = TextScore(negative_log_likelihood=10 * math.log(8), scored_token_count=10, byte_count=40)
    assert score.perplexity == pytest.approx(8)
    assert score.bits_per_byte == pytest.approx(30 / 40)


def test_importing_the_module_loads_neither_torch_nor_transformers() -> None:
    import subprocess
    import sys

    code = "import sys, synth_assets.core.perplexity; print({'torch', 'transformers'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
