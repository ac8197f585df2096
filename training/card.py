"""The model card and the picture of the loss curve, written from the figures in ``training.json`` alone."""

from __future__ import annotations

import math
import textwrap
from typing import Any

CURVE = ("step", "tokens", "row_length", "seconds", "train_loss", "held_out_loss")


def card(figures: dict[str, Any]) -> str:
    """The text of ``MODEL_CARD.md``."""
    config, options = figures["config"], figures["options"]
    seen, seconds = figures["tokens_seen"], figures["seconds"]
    held, train, demo = figures["held_out"], figures["train_sample"], figures["demo"]
    resumed = ""
    if options.get("resume"):
        resumed = (
            " The run was interrupted and went on from a checkpoint with a budget of "
            f"{options['minutes']:.0f} minutes; the running mean of the training loss began anew there."
        )
    layers = ", ".join(kind.split("_")[0] for kind in config["layer_types"])
    curve = figures["curve"]
    # About a dozen rows tell the story; loss.csv has all of them.
    every = math.ceil(len(curve) / 12) or 1
    rows = [row for index, row in enumerate(curve) if (len(curve) - 1 - index) % every == 0]
    losses = "\n".join(
        f"| {name} | {part['files']} | {part['tokens']:,} | {part['model']['nats_per_token']:.3f} "
        f"| {part['model']['bits_per_byte']:.3f} | {part['trigram']['nats_per_token']:.3f} "
        f"| {part['trigram']['bits_per_byte']:.3f} |"
        for name, part in (("held out", held), ("demo text (held out)", demo), ("training sample", train))
    )
    table = "\n".join(
        f"| {row['step']:,} | {row['tokens'] / 1e6:.1f} M | {row['row_length']} | {row['train_loss']:.3f} "
        f"| {row['held_out_loss']:.3f} |"
        for row in rows
    )
    found = {"previous token": figures["previous_token_heads"]}
    for length, best in figures["induction_heads"].items():
        found[f"induction, {length} random tokens repeated"] = best
    scores = "\n".join(
        f"| {name} | "
        + ", ".join("layer {layer} head {head}: {score:.2f}".format(**h) for h in best[:3])
        + " |"
        for name, best in found.items()
    )
    text = f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
language: en
tags: [code]
---

# The built-in decoder of lookbehind

A decoder-only language model of {figures["parameters"]:,} parameters that has read Python's standard library.
It is small enough to ship inside a package ({figures["file_bytes"] / 1e6:.1f} MB, bfloat16) and to run on any
CPU, and trained well enough that its attention can be looked at: it has previous-token heads and induction
heads, sliding-window layers beside full ones, and query heads that share key heads.

**What it is not:** a code assistant, or a stand-in for a large model. It completes common idioms and copies
names from its context; it knows no facts, and what its heads do need not carry over to other models.

## Architecture

`{config["architectures"][0]}` of transformers: {config["num_hidden_layers"]} layers ({layers}; window
{config["sliding_window"]}), width {config["hidden_size"]}, MLP {config["intermediate_size"]},
{config["num_attention_heads"]} query heads on {config["num_key_value_heads"]} key-value heads of
{config["head_dim"]} dimensions, RMS norm on queries and keys, rotary positions (theta 10,000), tied
embeddings, a context of {config["max_position_embeddings"]:,} tokens. Layers and heads count from 0. The
tokenizer is a byte-level BPE of {config["vocab_size"]:,} tokens, trained on the training side; any text
round-trips exactly. Every training document begins with `<|endoftext|>`; the tokenizer does not add it.

## Data

Python {figures["python"]}'s own standard library, every `.py` file but test suites, generated tables
(code pages, `pydoc_data/topics.py` and the like) and build records: {figures["train_files"]} files,
{figures["train_bytes"] / 1e6:.1f} MB, {figures["train_tokens"]:,} tokens for training. Split by file: those
whose path has a SHA-256 (first 8 bytes) divisible by 20 are held out ({held["files"]} files,
{held["tokens"]:,} tokens); `training.json` names them. Files of the two sides still share idioms, and some
share boilerplate (the `distutils` commands, say).

A share of {options["repeated"]:.0%} of the training rows is not plain text: in half of these a span of
uniformly random tokens is repeated until the row is full (no loss on the first copy), in the other half a
span of a training document. They are there to make induction heads appear within this small token budget.

The standard library is under the PSF License Agreement, copyright Python Software Foundation. So is the demo
text (`lookbehind.model.demo_text()`), an unchanged held-out file, `distutils/command/build_clib.py`; its
comments say that it shares code with `build_ext.py`, which is on the training side. The weights are
under Apache-2.0.

## Training

{figures["steps"]:,} steps of about {options["batch_tokens"]:,} tokens,
{seen / 1e6:.1f} M tokens in all ({seen / figures["train_tokens"]:.1f} passes), {seconds / 60:.0f} minutes
on {figures["threads"]} CPU threads ({seen / seconds:,.0f} tokens a second of wall clock, whatever else the
machine did meanwhile). Rows of {options["short"]} tokens for the first
{options["short_share"]:.0%} of the time, then of {options["long"]:,}. Muon (peak learning rate
{options["rate"]}, weight decay 0.1) for the matrices inside the layers, AdamW for the rest, a short warm-up
and a straight line to zero, bfloat16 autocast, torch {figures["torch"]}.{resumed} One command reproduces it,
up to the standard library's version and the speed of the machine (the budget is wall-clock time; `--steps
{figures["steps"]}` fixes the steps of this run instead):

    python training/train.py

## Loss

Cross-entropy of the shipped bfloat16 weights, beside an interpolated trigram model with modified Kneser-Ney
smoothing, fitted on the same training tokens (so its figure on the training sample is of text it has
counted). The model reads each file in consecutive windows of {options["long"]:,} tokens.

| text | files | tokens | model, nats/token | bits/byte | trigram, nats/token | bits/byte |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
{losses}

The curve (`loss.csv`, `loss.svg`; the training loss is a running mean that contains the repeated rows, the
held-out loss is of a part of the held-out text, so it differs a little from the table above):

| step | tokens | row length | training loss | held-out loss |
| ---: | ---: | ---: | ---: | ---: |
{table}

![loss curve](loss.svg)

## Heads

Previous-token score: the mean attention weight on the token before, on held-out text. Induction score: the
prefix-matching score of Olsson et al. (2022, arXiv 2209.11895), the mean weight of the second copy's tokens
of a repeated random sequence on the token right after their earlier occurrence. Best three of each:

| kind | heads |
| --- | --- |
{scores}

## Limits

English comments and Python of one code base; single-digit millions of parameters; no instruction tuning, no
filtering. Positions past {config["max_position_embeddings"]:,} tokens were never trained. The held-out side
is small: resampling its files gives the model's held-out loss a standard error of
{figures["held_out_error"]["model"]:.2f} nats per token, and its distance to the trigram's one of
{figures["held_out_error"]["difference"]:.2f}.
"""
    return "\n\n".join(_filled(paragraph) for paragraph in text.split("\n\n"))


def _filled(paragraph: str) -> str:
    """Prose broken anew, as figures differ in length; tables, headings and code as they are."""
    if paragraph.startswith(("---", "|", "#", " ", "!")):
        return paragraph
    end = "\n" if paragraph.endswith("\n") else ""
    return textwrap.fill(paragraph, 110, break_long_words=False, break_on_hyphens=False) + end


def picture(figures: dict[str, Any]) -> str:
    """The loss curve as SVG: both losses over tokens, and the trigram's held-out loss as a line."""
    curve = figures["curve"]
    level = figures["held_out"]["trigram"]["nats_per_token"]
    values = [row[key] for row in curve for key in ("train_loss", "held_out_loss")] + [level]
    low, high = min(values) - 0.2, min(max(values), 6.0) + 0.2
    right = max([row["tokens"] for row in curve], default=1)

    def x(tokens: float) -> float:
        return 50 + 560 * tokens / right

    def y(loss: float) -> float:
        return 260 - 240 * (min(loss, high) - low) / (high - low)

    def line(key: str, colour: str) -> str:
        points = " ".join(f"{x(row['tokens']):.1f},{y(row[key]):.1f}" for row in curve)
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'

    def text(at_x: float, at_y: float, words: str, colour: str = "#333") -> str:
        return f'<text x="{at_x:.0f}" y="{at_y:.0f}" fill="{colour}">{words}</text>'

    ticks = [text(20, y(loss) + 4, str(loss)) for loss in range(math.ceil(low), math.floor(high) + 1)]
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 300" '
            'font-family="sans-serif" font-size="12">',
            '<rect width="640" height="300" fill="#fff"/>',
            '<path d="M50 20V260H610" fill="none" stroke="#333"/>',
            *ticks,
            text(250, 290, f"tokens seen (to {right / 1e6:.0f} M)"),
            text(56, 16, "loss, nats per token"),
            f'<path d="M50 {y(level):.1f}H610" stroke="#777" stroke-dasharray="4 3"/>',
            text(430, y(level) - 5, "trigram, held out", "#777"),
            line("train_loss", "#999"),
            line("held_out_loss", "#1f5fa8"),
            text(430, 40, "training (running mean)", "#999"),
            text(430, 56, "held out", "#1f5fa8"),
            "</svg>\n",
        ]
    )
