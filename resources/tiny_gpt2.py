"""A reference model for tests and benchmarks: GPT-2 of two small layers over single characters, with random weights.

In: the real computation in no time and without a download. Out: perplexities that mean anything.
"""

from __future__ import annotations

from pathlib import Path


def save_tiny_gpt2(folder: Path) -> Path:
    """Make the model and its tokenizer in `folder`, the same each time; returns the folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    alphabet = ["<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({symbol: index for index, symbol in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=alphabet[0], eos_token=alphabet[0]).save_pretrained(
        folder
    )
    torch.manual_seed(7)
    config = GPT2Config(
        vocab_size=len(alphabet), n_embd=16, n_layer=2, n_head=2, n_positions=256, bos_token_id=0, eos_token_id=0
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder
