"""Trains the decoder that ships in ``lookbehind/model/weights``. The one command that reproduces it:

    python training/train.py

It needs torch, transformers and tokenizers, no network and no GPU: the text is the standard library of the
Python that runs it (see `data`), the time a little over an hour on two CPU cores (``--minutes``). The
learning rate follows the share of the budget that is used up, so a run on a slower machine still decays to
zero, with fewer steps; ``--steps`` fixes the number of steps instead.

The run writes a checkpoint every few minutes. ``--resume`` goes on from it, and ``python
training/evaluate.py`` turns any checkpoint into a shippable folder (the run does so itself at its end).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import data
import torch
from torch.nn import functional
from transformers import Qwen3Config, Qwen3ForCausalLM

from lookbehind import disk

WEIGHTS = Path(__file__).parents[1] / "src" / "lookbehind" / "model" / "weights"
CHECKPOINT = Path(tempfile.gettempdir()) / "lookbehind-training" / "checkpoint.pt"
WINDOW = 256
CONTEXT = 2048


def configuration(vocab_size: int, context: int = CONTEXT) -> Qwen3Config:
    """About 3 million parameters, six query heads on two key heads, sliding and full layers in turn."""
    return Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=context,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        use_sliding_window=True,
        sliding_window=WINDOW,
        layer_types=["sliding_attention", "full_attention"] * 3,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )


def masks(length: int, window: int) -> dict[str, torch.Tensor | None]:
    """The masks per layer type. ``None`` keeps full layers on the fused causal kernel."""
    position = torch.arange(length)
    distance = position[:, None] - position[None, :]
    sliding = ((distance >= 0) & (distance < window))[None, None]
    return {"full_attention": None, "sliding_attention": sliding if length > window else None}


def optimizers(model: Qwen3ForCausalLM, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the embedding and the norms' gains."""
    inner = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    gains = [p for p in model.parameters() if p.ndim == 1]
    embedding = [model.model.embed_tokens.weight]
    groups = [{"params": embedding, "weight_decay": 0.1}, {"params": gains, "weight_decay": 0.0}]
    found: list[torch.optim.Optimizer] = [
        torch.optim.Muon(inner, lr=rate, weight_decay=0.1, momentum=0.95),
        torch.optim.AdamW(groups, lr=rate * 0.15, betas=(0.9, 0.95)),
    ]
    for optimizer in found:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return found


def schedule(progress: float) -> float:
    """The learning rate's factor: a short warm-up, then a straight line to zero."""
    return min(progress / 0.02, (1.0 - progress) / 0.98) if progress < 1.0 else 0.0


def save(path: Path, state: dict[str, object]) -> None:
    """A run killed while writing keeps the checkpoint before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk.whole(path) as beside:
        torch.save(state, beside)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=65.0, help="wall-clock budget")
    parser.add_argument("--steps", type=int, help="number of steps, in place of --minutes")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder of the finished model")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--short", type=int, default=512, help="row length of the run's first part")
    parser.add_argument("--long", type=int, default=CONTEXT, help="row length of the rest")
    parser.add_argument("--short-share", type=float, default=0.75, help="share of the run on short rows")
    parser.add_argument("--repeated", type=float, default=0.06, help="share of rows that repeat a span")
    parser.add_argument("--rate", type=float, default=0.02, help="peak learning rate of Muon")
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--documents", type=int, help="use only the so many shortest of each side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--no-export", dest="export", action="store_false")
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.manual_seed(options.seed)
    texts = data.documents()
    if options.documents:
        short = sorted(texts, key=lambda name: len(texts[name]))
        kept = [[n for n in short if data.held_out(n) is side][: options.documents] for side in (False, True)]
        texts = {name: texts[name] for side in kept for name in sorted(side)}
    training = [text for name, text in texts.items() if not data.held_out(name)]
    tokenizer = data.train_tokenizer(training, options.vocab)
    encoded = data.encode(tokenizer, training)
    validation = torch.from_numpy(
        data.np.concatenate(data.encode(tokenizer, [t for n, t in texts.items() if data.held_out(n)]))
    )
    model = Qwen3ForCausalLM(configuration(options.vocab, options.long))
    steppers = optimizers(model, options.rate)
    step, tokens, before, smooth, curve = 0, 0, 0.0, 0.0, []
    if options.resume:
        state = torch.load(options.checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(steppers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, tokens, before = state["step"], state["tokens"], state["seconds"]
        smooth, curve = state.get("smooth", 0.0), state["curve"]
    stream = data.Batches(encoded, options.vocab, options.seed + step, options.repeated)
    inner = torch.compile(model.model, dynamic=False) if options.compile else model.model

    def loss_of(ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        mask = masks(ids.shape[1], WINDOW)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = inner(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            logits = model.lm_head(hidden)
        return functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())

    def validate(length: int, rows: int) -> float:
        """Held-out loss on up to four batches of the shapes in training (another shape would recompile)."""
        losses: list[float] = []
        with torch.no_grad():
            for start in range(0, min(4 * rows * length, len(validation) - rows * length), rows * length):
                piece = validation[start : start + rows * length + 1]
                losses.append(loss_of(piece[:-1].view(rows, length), piece[1:].view(rows, length)).item())
        return sum(losses) / max(1, len(losses))

    def checkpoint() -> None:
        save(
            options.checkpoint,
            {
                "model": model.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in steppers],
                "step": step,
                "tokens": tokens,
                "seconds": before + time.monotonic() - started,
                "smooth": smooth,
                "curve": curve,
                "config": model.config.to_dict(),
                "tokenizer": tokenizer.backend_tokenizer.to_str(),
                "documents": list(texts),
                "train_tokens": sum(map(len, encoded)),
                "options": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()},
            },
        )

    started = time.monotonic()
    saved_at = started
    while True:
        seconds = before + time.monotonic() - started
        progress = step / options.steps if options.steps else seconds / (60 * options.minutes)
        if progress >= 1:
            break
        length = options.short if progress < options.short_share else options.long
        rows = max(1, options.batch_tokens // length)
        for optimizer in steppers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * schedule(max(progress, 1e-4))
        loss = loss_of(*stream.take(rows, length))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in steppers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step, tokens = step + 1, tokens + rows * length
        smooth = loss.item() if not smooth else 0.97 * smooth + 0.03 * loss.item()
        if step % 20 == 0:
            print(f"{step} {seconds:.0f}s {tokens / 1e6:.2f}M {length} train {smooth:.4f}", flush=True)
        if step % 200 == 0:
            value = validate(length, rows)
            curve.append((step, tokens, length, round(seconds), round(smooth, 4), round(value, 4)))
            print(f"{step} held-out {value:.4f}", flush=True)
        if time.monotonic() - saved_at > 120:
            saved_at = time.monotonic()
            checkpoint()
    checkpoint()
    if options.export:
        from evaluate import export

        export(options.checkpoint, options.out)


if __name__ == "__main__":
    main()
