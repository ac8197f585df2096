"""The one small decoder of which every case is a variation.

Embeddings, blocks of (norm, mixer, norm, MLP), a norm, a head. A mixer is called with the hidden states and a
`View`: where the queries are, which keys are real, of which document, and the cache. Cases replace one part.

`Plain.forward(input_ids)` has no more; `Masked` adds attention_mask and position_ids, `Cached` a cache,
`Decoder` both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class Config:
    """Names as in transformers, so that an audit finds the periods of a model."""

    vocab_size: int = 31
    hidden_size: int = 16
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    max_position_embeddings: int = 128
    original_max_position_embeddings: int | None = None
    sliding_window: int | None = None
    attention_chunk_size: int | None = None
    layer_types: tuple[str, ...] | None = None
    chunk_size: int | None = None
    block_size: int | None = None
    positions: str = "rope"  # "rope" | "learned" | "alibi" | "none"
    softcap: float | None = None
    sinks: bool = False
    is_decoder: bool = True
    tie_word_embeddings: bool = False
    num_experts: int = 4
    eos_token_id: int | None = None
    pad_token_id: int | None = None
    num_experts_per_tok: int = 2


class Cache:
    """Keys, values, slots and positions per layer; `state` holds what mixers without keys carry."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Tensor, ...]] = {}
        self.state: dict[Any, Tensor] = {}
        self.length = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.length

    def keep(self, layer: int, k: Tensor, v: Tensor, slots: Tensor, places: Tensor) -> tuple[Tensor, ...]:
        """What a layer's queries may read: everything so far. k, v [B, H, m, D], slots [m], places [B, m]."""
        new = (k, v, slots, places)
        if layer in self.layers:
            old = self.layers[layer]
            axes = (2, 2, 0, 1)
            new = tuple(torch.cat(pair, axis) for *pair, axis in zip(old, new, axes, strict=True))
        self.layers[layer] = self.trim(new)
        return new

    def trim(self, kept: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return kept


@dataclass
class View:
    """Where the n queries of one call are."""

    slots: Tensor  # [n] index in the sequence
    positions: Tensor  # [B, n] what the position encoding sees
    padding: Tensor | None = None  # bool [B, past + n], True where real
    documents: Tensor | None = None  # [B, n]
    cache: Any = None


@dataclass
class Output:
    logits: Tensor
    past_key_values: Any = None


class RMSNorm(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class FloatRMSNorm(RMSNorm):
    """As in transformers: computed in float32 whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


def rotate(x: Tensor, positions: Tensor, base: float = 100.0) -> Tensor:
    """RoPE on x [B, H, n, D] at positions [B, n]; a small base, so that places differ at these lengths."""
    half = x.shape[-1] // 2
    frequencies = base ** -(torch.arange(half, dtype=x.dtype, device=x.device) / half)
    angles = positions[:, None, :, None].to(x.dtype) * frequencies
    a, b = x.split(half, -1)
    return torch.cat((a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()), -1)


class Attention(nn.Module):
    """Grouped-query attention. `place`, `scores`, `allowed`, `weigh` and `merge` are the places to cheat."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.config, self.layer = config, layer
        self.heads, self.kv = config.num_attention_heads, config.num_key_value_heads
        self.width = config.hidden_size // self.heads
        self.kind = config.layer_types[layer] if config.layer_types else None
        if self.kind is None and config.sliding_window:
            self.kind = "sliding_attention"
        if self.kind is None and config.attention_chunk_size:
            self.kind = "chunked_attention"
        self.q = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.k = nn.Linear(config.hidden_size, self.kv * self.width, bias=False)
        self.v = nn.Linear(config.hidden_size, self.kv * self.width, bias=False)
        self.o = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.sinks = nn.Parameter(torch.zeros(self.heads)) if config.sinks else None

    def forward(self, x: Tensor, view: View) -> Tensor:
        q, k, v = (
            part(x).unflatten(-1, (-1, self.width)).transpose(1, 2) for part in (self.q, self.k, self.v)
        )
        q, k = self.place(q, k, view)
        slots, places = view.slots, view.positions
        if view.cache is not None:
            k, v, slots, places = self.keep(k, v, view)
        k, v = (t.repeat_interleave(self.heads // self.kv, 1) for t in (k, v))
        scores = self.scores(q, k, view, slots)
        weights = self.weigh(scores, self.allowed(view, slots, places))
        return self.o(self.merge(weights @ v))

    def keep(self, k: Tensor, v: Tensor, view: View) -> tuple[Tensor, ...]:
        return view.cache.keep(self.layer, k, v, view.slots, view.positions)

    def place(self, q: Tensor, k: Tensor, view: View) -> tuple[Tensor, Tensor]:
        if self.config.positions != "rope":
            return q, k
        return rotate(q, view.positions), rotate(k, view.positions)

    def scores(self, q: Tensor, k: Tensor, view: View, slots: Tensor) -> Tensor:
        scores = q @ k.transpose(-1, -2) * self.width**-0.5
        if self.config.softcap is not None:
            scores = self.config.softcap * torch.tanh(scores / self.config.softcap)
        if self.config.positions == "alibi":
            slopes = 2.0 ** -torch.arange(1, self.heads + 1, dtype=q.dtype)
            scores = scores + slopes[:, None, None] * (slots[None, :] - view.slots[:, None]).to(q.dtype)
        return scores

    def allowed(self, view: View, slots: Tensor, places: Tensor) -> Tensor:
        """Bool [B or 1, H or 1, n, m]."""
        allowed = self.reach(view.slots[:, None], slots[None, :])[None]
        if self.kind == "chunked_attention":
            size = self.config.attention_chunk_size
            allowed = allowed & (view.positions[:, :, None] // size == places[:, None, :] // size)
        if view.padding is not None:
            allowed = allowed & view.padding[:, None, slots]
        if view.documents is not None:
            allowed = allowed & self.together(view.documents)
        return (allowed | (slots[None, :] == view.slots[:, None]))[:, None]

    def reach(self, i: Tensor, j: Tensor) -> Tensor:
        if self.kind == "sliding_attention":
            return (j <= i) & (j > i - self.config.sliding_window)
        return j <= i

    def together(self, documents: Tensor) -> Tensor:
        return documents[:, :, None] == documents[:, None, :]

    def weigh(self, scores: Tensor, allowed: Tensor) -> Tensor:
        scores = scores.masked_fill(~allowed, -torch.inf)
        if self.sinks is None:
            return scores.softmax(-1)
        sinks = self.sinks[None, :, None, None].expand(*scores.shape[:-1], 1)
        return torch.cat((scores, sinks), -1).softmax(-1)[..., :-1]

    def merge(self, y: Tensor) -> Tensor:
        """The heads' outputs [B, H, n, D] side by side: [B, n, H * D]."""
        return y.transpose(1, 2).flatten(-2)


class MLP(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.up = nn.Linear(config.hidden_size, 2 * config.hidden_size)
        self.down = nn.Linear(2 * config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.up(x)))


class Block(nn.Module):
    def __init__(self, config: Config, layer: int, mixer: Any, mlp: Any, norm: Any) -> None:
        super().__init__()
        self.norm1 = norm(config)
        self.mixer = mixer(config, layer)
        self.norm2 = norm(config)
        self.mlp = mlp(config)

    def forward(self, x: Tensor, view: View) -> Tensor:
        x = x + self.mixer(self.norm1(x), view)
        return x + self.mlp(self.norm2(x))


class Embedding(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        learned = config.positions == "learned"
        self.places = nn.Embedding(config.max_position_embeddings, config.hidden_size) if learned else None

    def forward(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        x = self.tokens(input_ids)
        return x if self.places is None else x + self.places(positions)


class Head(nn.Linear):
    def __init__(self, config: Config) -> None:
        super().__init__(config.hidden_size, config.vocab_size, bias=False)


class Plain(nn.Module):
    """forward(input_ids) -> logits, and no more."""

    cache = Cache

    def __init__(
        self, config: Config, *, mixer: Any, mlp: Any, norm: Any, head: Any, embed: Any, block: Any
    ) -> None:
        super().__init__()
        self.config = config
        self.embed = embed(config)
        self.blocks = nn.ModuleList(
            block(config, layer, *(part.get(layer, default) for part, default in (mixer, mlp, norm)))
            for layer in range(config.num_hidden_layers)
        )
        self.norm = RMSNorm(config)
        self.head = head(config)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.run(input_ids).logits

    def run(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool = False,
    ) -> Output:
        cache = past_key_values if past_key_values is not None else self.cache() if use_cache else None
        view = self.view(input_ids, attention_mask, position_ids, cache)
        x = self.embed(input_ids, view.positions)
        for block in self.blocks:
            x = block(x, view)
        if cache is not None:
            cache.length += input_ids.shape[1]
        return Output(self.head(self.norm(x)), cache)

    def view(self, input_ids: Tensor, mask: Tensor | None, position_ids: Tensor | None, cache: Any) -> View:
        past, n = 0 if cache is None else cache.get_seq_length(), input_ids.shape[1]
        slots = torch.arange(past, past + n)
        positions, documents = position_ids, None
        if positions is None:
            positions = self.positions(slots, mask).expand(input_ids.shape)
        elif past == 0:
            documents = self.documents(positions, mask).expand(input_ids.shape)
        return View(slots, positions, None if mask is None else mask.bool(), documents, cache)

    def positions(self, slots: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return slots[None]
        return (mask.long().cumsum(1) - 1).clamp(min=0)[:, slots]

    def documents(self, positions: Tensor, mask: Tensor | None) -> Tensor:
        """A new document wherever positions do not go on by one."""
        return F.pad((positions.diff(dim=1) != 1).long(), (1, 0)).cumsum(1)


class Masked(Plain):
    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Output:
        return self.run(input_ids, attention_mask, position_ids)


class Cached(Plain):
    def forward(self, input_ids: Tensor, past_key_values: Any = None, use_cache: bool = False) -> Output:
        return self.run(input_ids, past_key_values=past_key_values, use_cache=use_cache)


class Decoder(Plain):
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool = False,
    ) -> Output:
        return self.run(input_ids, attention_mask, position_ids, past_key_values, use_cache)


def draw(model: nn.Module) -> nn.Module:
    """Weights at which every path carries signal, from torch's own generator."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if isinstance(model.get_submodule(name.rpartition(".")[0]), nn.Embedding):
                parameter.normal_()
            elif parameter.ndim >= 2:
                parameter.normal_(std=1.2 * parameter[0].numel() ** -0.5)
            elif name.endswith("weight"):
                parameter.normal_(1.0, 0.1)
            else:
                parameter.normal_(std=0.3)
    return model.eval()


@dataclass
class Parts:
    mixer: Any = Attention
    mlp: Any = MLP
    norm: Any = RMSNorm
    head: Any = Head
    embed: Any = Embedding
    block: Any = Block
    model: Any = Plain
    config: dict[str, Any] = field(default_factory=dict)


def decoder(**given: Any) -> Callable[[int], nn.Module]:
    """A maker of models. Parts by name, for all layers or as {layer: part}; the rest goes to the config."""
    names = {f.name for f in fields(Parts)} - {"config"}
    parts = Parts(**{k: v for k, v in given.items() if k in names})
    config = {k: v for k, v in given.items() if k not in names}

    def make(seed: int = 0) -> nn.Module:
        def layered(part: Any, default: Any) -> tuple[dict[int, Any], Any]:
            return (part, default) if isinstance(part, dict) else ({}, part)

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = parts.model(
                Config(**config),
                mixer=layered(parts.mixer, Attention),
                mlp=layered(parts.mlp, MLP),
                norm=layered(parts.norm, RMSNorm),
                head=parts.head,
                embed=parts.embed,
                block=parts.block,
            )
            draw(model)
            if model.config.tie_word_embeddings:
                model.head.weight = model.embed.tokens.weight
            return model

    return make
