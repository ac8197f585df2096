"""Turns a checkpoint into the folder that ships, with every figure measured on the shipped bf16 weights:

    python training/evaluate.py [--checkpoint PATH] [--out FOLDER]

Writes the model and the tokenizer in transformers' format, ``training.json`` (all figures), ``loss.csv``,
``loss.svg`` and ``MODEL_CARD.md``, which is written from ``training.json`` alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import platform
import shutil
import tempfile
from pathlib import Path
from typing import Any

import card
import data
import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional
from train import CHECKPOINT, WEIGHTS, masks
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from trigram import Trigram

DEMO = WEIGHTS.parent / "demo.txt"


def losses(model: Qwen3ForCausalLM, document: np.ndarray, context: int) -> np.ndarray:
    """Minus the log probability (nats) of every token after the start mark.

    The document is cut into consecutive windows, so the first tokens of a later window see little context:
    the mean is a cautious figure for what the model does with a full context.
    """
    found: list[torch.Tensor] = []
    for start in range(0, len(document) - 1, context):
        piece = torch.from_numpy(document[start : start + context + 1])
        mask = masks(len(piece) - 1, model.config.sliding_window)
        with torch.no_grad():
            logits = model(input_ids=piece[None, :-1], attention_mask=mask, use_cache=False).logits[0]
        found.append(functional.cross_entropy(logits.float(), piece[1:], reduction="none"))
    return torch.cat(found).numpy()


def attentions(model: Qwen3ForCausalLM, ids: torch.Tensor) -> torch.Tensor:
    """The attention weights of one sequence, layers x heads x queries x keys."""
    with torch.no_grad():
        return torch.cat(model(input_ids=ids[None], output_attentions=True, use_cache=False).attentions)


def previous_token_scores(model: Qwen3ForCausalLM, rows: list[torch.Tensor]) -> torch.Tensor:
    """Layers x heads: the mean weight of each token on the one before it."""
    return torch.stack([attentions(model, r).diagonal(-1, 2, 3).mean(-1) for r in rows]).mean(0)


def induction_scores(model: Qwen3ForCausalLM, length: int, samples: int, seed: int = 0) -> torch.Tensor:
    """Layers x heads: the prefix-matching score of Olsson et al. (2022, arXiv 2209.11895).

    A sequence of random tokens is repeated; the score is the mean weight of the second copy's tokens on the
    token right after their earlier occurrence.
    """
    rng = torch.Generator().manual_seed(seed)
    found: list[torch.Tensor] = []
    for _ in range(samples):
        span = torch.randint(1, model.config.vocab_size, (length,), generator=rng)
        weights = attentions(model, torch.cat([span, span]))
        found.append(weights.diagonal(1 - length, 2, 3)[..., 1:].mean(-1))
    return torch.stack(found).mean(0)


def heads(scores: torch.Tensor, count: int = 5) -> list[dict[str, Any]]:
    """The best heads of a layers x heads table, best first."""
    width = scores.shape[1]
    best = scores.flatten().argsort(descending=True)[:count].tolist()
    return [
        {"layer": i // width, "head": i % width, "score": round(scores.flatten()[i].item(), 3)} for i in best
    ]


def figure(values: list[np.ndarray], size: int) -> dict[str, float]:
    """The mean of the tokens' losses, and the same in bits per byte of the text they spell."""
    joined = np.concatenate(values)
    nats = float(joined.sum())
    return {
        "nats_per_token": round(nats / len(joined), 4),
        "bits_per_byte": round(nats / math.log(2) / size, 4),
    }


def errors(model: list[np.ndarray], trigram: list[np.ndarray], samples: int = 1000) -> dict[str, float]:
    """Standard errors of the model's mean loss and of its distance to the trigram's, by resampling files."""
    rng = np.random.default_rng(0)
    rows = np.array([[len(m), m.sum(), t.sum() - m.sum()] for m, t in zip(model, trigram, strict=True)])
    drawn = rows[rng.integers(len(rows), size=(samples, len(rows)))].sum(1)
    spread = (drawn[:, 1:] / drawn[:, :1]).std(0)
    return {"model": round(float(spread[0]), 4), "difference": round(float(spread[1]), 4)}


def measure(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, state: dict[str, Any]
) -> dict[str, Any]:
    """All figures of the card. ``model`` holds the rounded weights, in float32, with eager attention."""
    context = model.config.max_position_embeddings
    texts = {name: text for name, text in data.documents().items() if name in set(state["documents"])}
    sides = {side: {n: t for n, t in texts.items() if data.held_out(n) is side} for side in (False, True)}
    encoded = {side: data.encode(tokenizer, list(part.values())) for side, part in sides.items()}
    demo_text = DEMO.read_text(encoding="utf-8")
    demo = data.encode(tokenizer, [demo_text])
    trigram = Trigram(encoded[False], model.config.vocab_size)
    # As many evenly spaced training files as there are held-out ones stand for the training side.
    every = max(1, len(encoded[False]) // len(encoded[True]))
    sample, sample_texts = encoded[False][::every], list(sides[False].values())[::every]
    held_texts = list(sides[True].values())
    model.set_attn_implementation("sdpa")
    results: dict[str, Any] = {}
    for name, documents, part in (
        ("held_out", encoded[True], held_texts),
        ("train_sample", sample, sample_texts),
        ("demo", demo, [demo_text]),
    ):
        size = sum(len(text.encode()) for text in part)
        by_model = [losses(model, document, context) for document in documents]
        by_trigram = [trigram.losses(document) for document in documents]
        results[name] = {
            "files": len(documents),
            "bytes": size,
            "tokens": sum(len(document) - 1 for document in documents),
            "model": figure(by_model, size),
            "trigram": figure(by_trigram, size),
        }
        if name == "held_out":
            results["held_out_error"] = errors(by_model, by_trigram)
    model.set_attn_implementation("eager")
    rows = [
        torch.from_numpy(document[:512]) for document in encoded[True] if len(document) >= min(512, context)
    ]
    spans = [length for length in (64, 100) if 2 * length <= context]
    return {
        **results,
        "parameters": sum(p.numel() for p in model.parameters()),
        "previous_token_heads": heads(previous_token_scores(model, rows[:8])) if rows else [],
        "induction_heads": {str(length): heads(induction_scores(model, length, 8)) for length in spans},
        "train_files": len(sides[False]),
        "train_bytes": sum(len(text.encode()) for text in sides[False].values()),
        "train_tokens": sum(len(document) - 1 for document in encoded[False]),
        "held_out_files": list(sides[True]),
        "tokens_seen": state["tokens"],
        "steps": state["step"],
        "seconds": max(1, round(state["seconds"])),
        "options": {k: v for k, v in state["options"].items() if k not in ("checkpoint", "out", "export")},
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "curve": [dict(zip(card.CURVE, row, strict=True)) for row in state["curve"]],
        # Where the model was read from is this machine's business.
        "config": {k: v for k, v in model.config.to_dict().items() if k != "_name_or_path"},
    }


def export(checkpoint: Path, out: Path) -> dict[str, Any]:
    """Writes the folder beside ``out`` first, then moves its files in: ``out`` always holds a whole model."""
    state = torch.load(checkpoint, weights_only=True)
    config = Qwen3Config(**state["config"])
    model = Qwen3ForCausalLM(config)
    model.load_state_dict(state["model"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(state["tokenizer"]),
        bos_token=data.EOT,
        eos_token=data.EOT,
        clean_up_tokenization_spaces=False,
        model_max_length=config.max_position_embeddings,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".weights-", dir=out.parent))
    try:
        model.to(torch.bfloat16).save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        # Measured on what was written, after the rounding to bf16.
        model = Qwen3ForCausalLM.from_pretrained(scratch, dtype=torch.float32, local_files_only=True).eval()
        results = measure(model, tokenizer, state)
        results["file_bytes"] = (scratch / "model.safetensors").stat().st_size
        (scratch / "training.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        with (scratch / "loss.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, card.CURVE, lineterminator="\n")
            writer.writeheader()
            writer.writerows(results["curve"])
        (scratch / "loss.svg").write_text(card.picture(results), encoding="utf-8")
        (scratch / "MODEL_CARD.md").write_text(card.card(results), encoding="utf-8")
        out.mkdir(exist_ok=True)
        for path in scratch.iterdir():
            path.chmod(0o644)
            path.replace(out / path.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description="Exports and evaluates a checkpoint.")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    results = export(options.checkpoint, options.out)
    for name in ("held_out", "train_sample", "demo", "previous_token_heads", "induction_heads", "file_bytes"):
        print(name, json.dumps(results[name]))


if __name__ == "__main__":
    main()
