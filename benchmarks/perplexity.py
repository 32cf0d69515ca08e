"""Perplexity of mixed texts against one text at a time in fp32, and of texts that are scored already.

The model is as large as GPT-2 small, with random weights and SmolLM2's tokenizer, so that nothing is downloaded; how
far a lower precision moves the scores is measured on SmolLM2's real weights as well. Both ways take turns, and the
least seconds of each count. The processor's peak is the fastest of some large matrix multiplications in the same
precision, in the same turns.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel
from workbench.project import Figure, document, report

from resources.embedded_vllm import prepared_smollm2
from resources.lake import Lake
from resources.ledger import Ledger
from synth_assets.assets.reference import ReferenceScorer
from synth_assets.core.perplexity import PerplexityScorer
from synth_assets.settings import SAMPLE_CORPUS

CONTEXT_TOKENS = 1024
SPEED_UP = 3.0
CLOSENESS = 0.005
PEAK_SIZE = 4096


def save_gpt2_small(folder: Path) -> Path:
    """GPT-2 small with random weights, 124 million of them."""
    torch.manual_seed(7)
    tokenizer = AutoTokenizer.from_pretrained(prepared_smollm2())
    tokenizer.save_pretrained(folder)
    bos = tokenizer.bos_token_id
    GPT2LMHeadModel(GPT2Config(bos_token_id=bos, eos_token_id=bos)).save_pretrained(folder)
    return folder


def mixed_texts(count: int) -> list[str]:
    """Half sample articles, half made ones with a log-normal length around 1,300 characters."""
    rng = random.Random(5)
    made = [document(number, int(rng.lognormvariate(7.2, 0.7)))["text"] for number in range(count // 2)]
    lines = (line for path in sorted(SAMPLE_CORPUS.glob("*.jsonl")) for line in path.read_text().splitlines())
    articles = [json.loads(line)["text"] for line in islice(lines, count - len(made))]
    texts = [*made, *articles]
    rng.shuffle(texts)
    return texts


def one_at_a_time(model: Any, tokenizer: Any, texts: Sequence[str], bos: int) -> tuple[int, list[float]]:
    """Tokens scored and perplexities: a forward pass in fp32 for each text, cut at 1,024 tokens."""
    count, perplexities = 0, []
    for text in texts:
        encoded = tokenizer(text, return_tensors="pt", truncation=True, max_length=CONTEXT_TOKENS - 1).input_ids
        ids = torch.cat([torch.tensor([[bos]]), encoded], dim=1).to(model.device)
        with torch.no_grad():
            perplexities.append(torch.exp(model(ids, labels=ids).loss).item())
        count += ids.shape[1] - 1
    return count, perplexities


def multiply_flops(dtype: torch.dtype, device: str) -> float:
    """FLOP/s of one large matrix multiplication."""
    left, right = (torch.randn(PEAK_SIZE, PEAK_SIZE, dtype=dtype, device=device) for _ in range(2))
    seconds = timed(lambda: (left @ right)[0, 0].item())[0]
    return 2 * PEAK_SIZE**3 / seconds


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what was returned."""
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def compare(folder: Path, texts: Sequence[str], turns: int, batch_tokens: int | None) -> dict[str, float]:
    """Tokens/s of both ways, the largest relative difference of a text's perplexity, and the share of the peak."""
    scorer = PerplexityScorer(folder, max_batch_tokens=batch_tokens)
    ours = scorer.model
    plain: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    plain.eval().to(scorer.device_name)
    bos = ours.bos_token_id or 0
    whole = [text for text in texts if len(ours.token_ids(text)) <= CONTEXT_TOKENS]
    plain_seconds, our_seconds, peak, plain_tokens, our_tokens = [], [], 0.0, 0, 0
    plain_values: list[float] = []
    scores: list[Any] = []
    for _ in range(turns):
        seconds, (plain_tokens, plain_values) = timed(lambda: one_at_a_time(plain, ours.tokenizer, whole, bos))
        plain_seconds.append(seconds)
        seconds, scores = timed(lambda: list(scorer.score(whole)))
        our_seconds.append(seconds)
        our_tokens = sum(score.scored_token_count for score in scores)
        peak = max(peak, *(multiply_flops(getattr(torch, ours.dtype), scorer.device_name) for _ in range(3)))
    if our_tokens != plain_tokens:
        raise SystemExit(f"we scored {our_tokens} tokens, one at a time scores {plain_tokens}")
    ratios = [score.perplexity / value for score, value in zip(scores, plain_values, strict=True)]
    config = ours.model.config
    width, layers = config.hidden_size, config.num_hidden_layers
    flops = 2 * sum(weight.numel() for name, weight in ours.model.named_parameters() if "wpe" not in name) * our_tokens
    flops += sum(2 * layers * width * score.scored_token_count**2 for score in scores)
    return {
        "ours": our_tokens / min(our_seconds),
        "plain": plain_tokens / min(plain_seconds),
        "difference": max(abs(ratio - 1) for ratio in ratios),
        "share_of_peak": flops / min(our_seconds) / peak,
        "peak": peak,
        "texts": len(whole),
        "tokens": our_tokens,
    }


def rescored(model_folder: Path, texts: Sequence[str]) -> tuple[int, int]:
    """Texts that the model saw at the first and at the second scoring; the second is a new process's worth."""
    with tempfile.TemporaryDirectory() as folder:
        seen = []
        for _ in range(2):
            ledger = Ledger(Lake(f"sqlite:{folder}/catalog.sqlite", f"{folder}/data"))
            reference = ReferenceScorer(str(model_folder), Path(folder), ledger)
            reference.score(texts)
            seen.append(reference.computed_count)
        return seen[0], seen[1]


@click.command()
@click.option("--texts", "text_count", default=48, help="How many texts.")
@click.option("--turns", default=3, help="How often each way is measured.")
@click.option("--batch-tokens", type=int, default=None, help="Tokens and padding of a forward pass.")
def main(text_count: int, turns: int, batch_tokens: int | None) -> None:
    """Measure speed, closeness and reuse."""
    texts = mixed_texts(text_count)
    with tempfile.TemporaryDirectory() as folder:
        gpt2 = save_gpt2_small(Path(folder))
        compare(gpt2, texts[:4], 1, batch_tokens)  # not measured: the first calls set up kernels and threads
        speed = compare(gpt2, texts, turns, batch_tokens)
        first, second = rescored(gpt2, texts[:8])
    scorer = PerplexityScorer(prepared_smollm2())
    real = compare(prepared_smollm2(), texts[: text_count // 4], 1, batch_tokens)
    ratio = speed["ours"] / speed["plain"]
    where = f"{scorer.dtype_name} on {scorer.device_name}, {torch.get_num_threads()} threads"
    report(
        [
            Figure(
                "perplexity, GPT-2-small-sized model, mixed lengths",
                f"{speed['ours']:.0f} tokens/s",
                f"{speed['plain']:.0f} tokens/s (one text at a time, fp32)",
                ratio,
                f"at least {SPEED_UP:.0f} times",
                ratio >= SPEED_UP,
                f"{where}; {speed['texts']} texts, {speed['tokens']} tokens; {speed['share_of_peak']:.0%} of the "
                f"matrix-multiply peak of {speed['peak'] / 1e9:.0f} GFLOP/s",
            ),
            *(
                Figure(
                    f"largest difference of a text's perplexity to fp32, {name}",
                    f"{found['difference']:.3%}",
                    f"{CLOSENESS:.1%}",
                    None,
                    f"at most {CLOSENESS:.1%}",
                    found["difference"] <= CLOSENESS,
                    f"{where}; {found['texts']} texts",
                )
                for name, found in (("random weights", speed), ("SmolLM2-135M-Instruct", real))
            ),
            Figure(
                "texts that the model sees when they are scored again",
                str(second),
                f"{first} at the first time",
                None,
                "none",
                second == 0,
            ),
        ]
    )


if __name__ == "__main__":
    main()
