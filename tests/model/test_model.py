"""The built-in decoder is what its card says: measured here, on the files that ship."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lookbehind import model as builtin


@pytest.fixture(scope="module")
def loaded() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    model, tokenizer = builtin.load()
    model.set_attn_implementation("eager")
    return model, tokenizer


@pytest.fixture(scope="module")
def figures() -> dict:
    return json.loads((builtin.PATH / "training.json").read_text(encoding="utf-8"))


def attentions(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    """Layers x heads x queries x keys."""
    with torch.no_grad():
        return torch.cat(model(ids[None], output_attentions=True, use_cache=False).attentions)


def test_import_leaves_transformers_alone():
    code = "import sys, lookbehind.model as m; assert m.demo_text(); print('transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_size(loaded, figures):
    model, _ = loaded
    count = sum(p.numel() for p in model.parameters())
    assert 2_000_000 <= count <= 4_000_000
    assert count == figures["parameters"]
    assert sum(path.stat().st_size for path in builtin.PATH.iterdir()) < 9_000_000


def test_architecture(loaded):
    model, _ = loaded
    config = model.config
    assert {"sliding_attention", "full_attention"} == set(config.layer_types)
    assert config.num_attention_heads > config.num_key_value_heads > 1
    attention = model.model.layers[0].self_attn
    assert attention.q_proj.out_features == config.num_attention_heads * config.head_dim
    assert attention.k_proj.out_features == config.num_key_value_heads * config.head_dim
    assert config.max_position_embeddings >= 2048
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def test_sliding_layers_slide(loaded):
    """A sliding layer gives no weight past its window, and a full layer gives some."""
    model, tokenizer = loaded
    window = model.config.sliding_window
    ids = tokenizer(builtin.demo_text(), return_tensors="pt").input_ids[0, : 2 * window]
    weights = attentions(model, ids)
    far = torch.ones(len(ids), len(ids), dtype=torch.bool).tril(-window)
    for layer, kind in enumerate(model.config.layer_types):
        assert (weights[layer][:, far].sum() == 0) == (kind == "sliding_attention")


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=200))
def test_tokenizer_round_trips_any_text(loaded, text):
    _, tokenizer = loaded
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_tokenizer_round_trips_source(loaded):
    _, tokenizer = loaded
    text = builtin.demo_text() + "\r\n\tx = 'naïve 漢字 🏳️‍🌈'  \n\n\n  don't , stop .  <|endoftext|>\x00"
    ids = tokenizer(text).input_ids
    assert tokenizer.decode(ids) == text
    assert max(ids) < loaded[0].config.vocab_size


def test_demo_text(loaded, figures):
    model, tokenizer = loaded
    ids = tokenizer(builtin.demo_text()).input_ids
    assert 1500 <= len(ids) <= min(2048, model.config.max_position_embeddings)
    compile(builtin.demo_text(), "demo", "exec")
    assert "distutils/command/build_clib.py" in figures["held_out_files"]
    assert len(ids) == figures["demo"]["tokens"]


def test_demo_loss_is_below_the_trigram(loaded, figures):
    model, tokenizer = loaded
    ids = torch.tensor([[tokenizer.eos_token_id, *tokenizer(builtin.demo_text()).input_ids]])
    with torch.no_grad():
        logits = model(ids[:, :-1], use_cache=False).logits
    loss = functional.cross_entropy(logits[0], ids[0, 1:]).item()
    assert loss < figures["demo"]["trigram"]["nats_per_token"] - 0.5
    assert loss == pytest.approx(figures["demo"]["model"]["nats_per_token"], abs=0.01)


def test_held_out_loss_is_below_the_trigram(figures):
    held = figures["held_out"]
    assert held["model"]["nats_per_token"] < held["trigram"]["nats_per_token"] - 0.5
    for part in (held["model"], held["trigram"]):  # the two units say the same
        bits = part["nats_per_token"] * held["tokens"] / held["bytes"] / math.log(2)
        assert part["bits_per_byte"] == pytest.approx(bits, abs=2e-4)


def test_previous_token_head(loaded, figures):
    model, tokenizer = loaded
    ids = tokenizer(builtin.demo_text(), return_tensors="pt").input_ids[0, :512]
    scores = attentions(model, ids).diagonal(-1, 2, 3).mean(-1)
    assert scores.max() > 0.5
    best = figures["previous_token_heads"][0]
    assert scores[best["layer"], best["head"]] > 0.5


@pytest.mark.parametrize("length", [64, 100])
def test_induction_head(loaded, figures, length):
    """Prefix matching: each token of a second copy looks at what followed its first occurrence."""
    model, _ = loaded
    rng = torch.Generator().manual_seed(1)  # not the seed of the figures
    scores = torch.zeros(model.config.num_hidden_layers, model.config.num_attention_heads)
    for _ in range(4):
        span = torch.randperm(model.config.vocab_size - 1, generator=rng)[:length] + 1
        weights = attentions(model, torch.cat([span, span]))
        for query in range(length, 2 * length):
            scores += weights[:, :, query, query - length + 1] / (4 * length)
    assert scores.max() > 0.3
    best = figures["induction_heads"][str(length)][0]
    assert scores[best["layer"], best["head"]] > 0.3


def test_card_says_the_figures(figures):
    card = (builtin.PATH / "MODEL_CARD.md").read_text(encoding="utf-8")
    for part in ("model", "trigram"):
        assert f"{figures['held_out'][part]['nats_per_token']:.3f}" in card
    for head in (figures["previous_token_heads"][0], figures["induction_heads"]["64"][0]):
        assert f"layer {head['layer']} head {head['head']}: {head['score']:.2f}" in card
    for words in ("PSF", "Apache-2.0", "python training/train.py", f"{figures['parameters']:,}"):
        assert words in card
    assert not [
        path
        for path in builtin.PATH.glob("*.json")
        if str(builtin.PATH.parent) in path.read_text(encoding="utf-8")
    ]
    assert len((builtin.PATH / "loss.csv").read_text().splitlines()) == len(figures["curve"]) + 1
