"""Predict: the next-token distribution, and what each decode step costs in products.

A decoder's last row of scores decides the next token. With a cache of keys and values a step computes the
products of its one new query; a model without one computes the whole triangle again. Both counts are read
from the spans of a recording, so windows and chunks count as what they are.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np

from lookbehind import checks
from lookbehind.errors import InputError
from lookbehind.spans import Spans
from lookbehind.tokens import token_string

if TYPE_CHECKING:
    import torch

    from lookbehind.tape import Tape


@dataclass(frozen=True)
class NextToken:
    """One candidate: its text, id, probability and logit."""

    token: str
    id: int
    probability: float
    logit: float


@dataclass(frozen=True, repr=False)
class NextTokens:
    """The most probable next tokens, the likeliest first.

    Attributes:
        text: what they continue.
        n_tokens: how many tokens that is.
        tokens: the candidates.
    """

    text: str
    n_tokens: int
    tokens: tuple[NextToken, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    def __iter__(self) -> Iterator[NextToken]:
        return iter(self.tokens)

    def __getitem__(self, index: int) -> NextToken:
        return self.tokens[index]

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    def __repr__(self) -> str:
        shown = self.text if len(self.text) <= 40 else "…" + self.text[-39:]
        lines = [f"<NextTokens after {json.dumps(shown, ensure_ascii=False)}, {self.n_tokens} tokens>"]
        width = max((len(json.dumps(t.token, ensure_ascii=False)) for t in self.tokens), default=0)
        lines += [
            f"  {json.dumps(t.token, ensure_ascii=False):<{width}}  {t.probability:.4f}  logit {t.logit:.3f}"
            for t in self.tokens
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class Kind:
    """Layers that compute the same products.

    Attributes:
        pattern: which products.
        layers: which layers.
        n_heads: heads in all of them together.
    """

    pattern: str
    layers: tuple[int, ...]
    n_heads: int


@dataclass(frozen=True)
class Step:
    """One forward call and the token it chose.

    Attributes:
        chosen: the likeliest token, which the next step reads.
        candidates: the distribution it was chosen from.
        rows: queries that this call computed: the whole prompt at first, then one at a time.
        added: products per head that this call computed with the cache, by kind of layer.
        recomputed: products per head that a model without a cache computes for the same token, by kind.
        added_total, recomputed_total: the same over every head of every layer.
    """

    chosen: NextToken
    candidates: NextTokens
    rows: int
    added: tuple[int, ...]
    recomputed: tuple[int, ...]
    added_total: int
    recomputed_total: int


@dataclass(frozen=True)
class Decoding:
    """A prompt continued greedily, step by step.

    Attributes:
        text: the prompt.
        n_prompt: how many tokens it is.
        continuation: the chosen tokens as text.
        kinds: the kinds of layers that the counts of a step refer to.
        steps: one for each chosen token.
    """

    text: str
    n_prompt: int
    continuation: str
    kinds: tuple[Kind, ...]
    steps: tuple[Step, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def next_tokens(model: Any, tokenizer: Any, text: str, k: int = 10, chat: bool = False) -> NextTokens:
    """The `k` most probable tokens after `text`.

    Args:
        model: a causal language model of transformers (or one that returns logits, alone, first in a tuple,
            or as `.logits`).
        tokenizer: its tokenizer.
        text: what to continue.
        k: how many; the whole vocabulary if it has fewer.
        chat: the text is a user's message: it is put into the tokenizer's chat template, and what comes next
            is the answer.

    Raises:
        InputError: the text is empty or longer than the model's context, its tokens are none of the model's,
            k is less than 1, dropout is active, there is no chat template, or the model's answer holds no
            probabilities.
    """
    import torch

    k = checks.whole("k", k, 1)
    _refuse_dropout(model)
    text = templated(tokenizer, text) if chat else text
    ids = encode(model, tokenizer, text, chat=chat)
    with torch.no_grad(), embedded(ids):
        logits = _logits(model(ids))[0, -1]
    return _candidates(tokenizer, text, ids.shape[1], logits, k)


def decode_steps(
    model: Any, tokenizer: Any, text: str, steps: int, k: int = 5, chat: bool = False
) -> Decoding:
    """Continues `text` greedily for `steps` tokens with a cache, counting every product.

    Stops early at the model's end-of-text token. With `chat` the text is a message, as in `next_tokens`.

    Raises:
        InputError: as `next_tokens`, text and steps together exceed the context, or the model keeps no cache.
        RecordError: the model's attention cannot be recorded exactly.
    """
    import torch

    steps, k = checks.whole("steps", steps, 1), checks.whole("k", k, 1)
    _refuse_dropout(model)
    taken = signature(model.forward).parameters
    if "past_key_values" not in taken and all(one.kind is not one.VAR_KEYWORD for one in taken.values()):
        raise _without_cache(model)
    text = templated(tokenizer, text) if chat else text
    ids = encode(model, tokenizer, text, room=steps, chat=chat)
    ends = _end_ids(model)
    found: list[tuple[NextToken, NextTokens]] = []
    fed, cache, shown = ids, None, text
    from lookbehind.recorder import record

    with record(model, tokenizer=tokenizer) as recorder, torch.no_grad():
        while True:
            with embedded(ids):
                output = model(input_ids=fed, past_key_values=cache, use_cache=True)
            candidates = _candidates(tokenizer, shown, ids.shape[1] + len(found), _logits(output)[0, -1], k)
            chosen = candidates[0]
            found.append((chosen, candidates))
            if len(found) == steps or chosen.id in ends:
                break
            cache = getattr(output, "past_key_values", None)
            if cache is None:
                raise _without_cache(model)
            # Decoded together: a character may be spread over several tokens.
            shown = text + tokenizer.decode([one.id for one, _ in found])
            fed = torch.tensor([[chosen.id]], device=ids.device)
    kinds, counts, heads = _kinds(recorder.tape())
    rows = [ids.shape[1], *[1] * (len(found) - 1)]
    ends_at = np.cumsum(rows).tolist()
    return Decoding(
        text=text,
        n_prompt=ids.shape[1],
        continuation=tokenizer.decode([chosen.id for chosen, _ in found]),
        kinds=kinds,
        steps=tuple(
            _step(pair, count, end, counts, heads)
            for pair, count, end in zip(found, rows, ends_at, strict=True)
        ),
    )


def templated(tokenizer: Any, message: str) -> str:
    """A user's message in the tokenizer's chat template, up to where the answer begins.

    Raises:
        InputError: the message is no text, or there is no template that takes it.
    """
    message = checks.text("text", message)
    if not getattr(tokenizer, "chat_template", None):
        raise InputError("chat: this tokenizer has no chat template; leave chat out")
    try:
        return str(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": message}], tokenize=False, add_generation_prompt=True
            )
        )
    except Exception as error:  # a template is a program, which raises what it likes
        reason = " ".join(str(error).split())
        raise InputError(f"chat: the tokenizer's chat template does not take the text ({reason})") from error


def encode(model: Any, tokenizer: Any, text: str, room: int = 0, chat: bool = False) -> torch.Tensor:
    """The token ids of a text as the model takes them, int64 [1, n].

    Args:
        model: whose context the text has to fit.
        tokenizer: its tokenizer.
        text: what to read.
        room: tokens that will be generated after it; the last of them is not read.
        chat: the text comes from `templated`, which has written the special tokens: none are added.

    Raises:
        InputError: nothing to read, no Unicode text, more than the model's context, or a token that the
            model does not have.
    """
    import torch

    if not all(callable(one) for one in (tokenizer, getattr(tokenizer, "decode", None))):
        raise InputError(f"tokenizer: one of transformers is needed; got {type(tokenizer).__name__}")
    text = checks.text("text", text)
    # The tokenizer's own warning about long texts says less than the error below.
    special = {"add_special_tokens": False} if chat else {}
    ids = tokenizer(text, verbose=False, **special)["input_ids"]
    if not ids:
        raise InputError(f"text: {text[:40]!r} has no token for this tokenizer; give at least one")
    known = _known(model)
    if known is not None and max(ids) >= known:
        raise InputError(
            f"text: the tokenizer gives token {max(ids)}, but the model has {known:,} tokens; "
            "give the tokenizer that the model was made with"
        )
    limit = declared(model, "max_position_embeddings")
    if limit is not None and len(ids) + max(room - 1, 0) > limit:
        extra = f" and {room} more are to be generated" if room else ""
        raise InputError(
            f"text: it is {len(ids):,} token{'s' if len(ids) > 1 else ''} long{extra}, but the model's "
            f"context is {limit:,}; "
            "shorten it or choose another model"
        )
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    return torch.tensor([ids], dtype=torch.int64, device=device)


@contextmanager
def embedded(ids: torch.Tensor) -> Generator[None]:
    """Around a model's forward: a token or a position beyond its tables is an error about the text.

    Models of transformers tell the size of their tables beforehand (`encode`), plain ones do not.
    """
    try:
        yield
    except IndexError as error:
        raise InputError(
            f"text: its {ids.shape[1]:,} tokens, of which {int(ids.max())} is the last id, are more than the "
            f"model has tables for ({error}); give the tokenizer that it was made with, or a shorter text"
        ) from error


def declared(model: Any, size: str) -> int | None:
    """A size that the config of a model's text part names, or None if it does not say."""
    config: Any = getattr(model, "config", None)
    if hasattr(config, "get_text_config"):
        config = config.get_text_config()
    found = getattr(config, size, None)
    return found if isinstance(found, int) and found > 0 else None


def _without_cache(model: Any) -> InputError:
    return InputError(
        f"steps: they need a cache of keys and values, and {type(model).__name__} keeps none; leave steps out"
    )


def _known(model: Any) -> int | None:
    """How many tokens the model has embeddings for, or None if it does not say."""
    try:
        table = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):  # no model of transformers, or one without a table
        return None
    size = getattr(table, "num_embeddings", None)
    return size if isinstance(size, int) else None


def _candidates(tokenizer: Any, text: str, n_tokens: int, logits: torch.Tensor, k: int) -> NextTokens:
    logits = logits.double().cpu()  # sums over a vocabulary are not done in half precision
    probabilities = logits.softmax(-1)
    if probabilities.isnan().any():
        raise InputError(
            f"model: its logits after {n_tokens:,} token{'s' if n_tokens > 1 else ''} are NaN or infinite "
            "and give no probabilities; check its weights and its dtype"
        )
    # Of equal logits the lower id comes first, as in generate().
    values, order = (one[:k] for one in logits.sort(descending=True, stable=True))
    return NextTokens(
        text=text,
        n_tokens=n_tokens,
        tokens=tuple(
            NextToken(token_string(tokenizer, index), index, float(probabilities[index]), value)
            for value, index in zip(values.tolist(), order.tolist(), strict=True)
        ),
    )


def _logits(output: Any) -> torch.Tensor:
    """The logits [1, n, vocab] in what a model returned."""
    from lookbehind.taps.logits import named

    found = named(output)
    if found is None or found.ndim != 3:
        what = type(output).__name__ if found is None else f"a tensor {list(found.shape)}"
        raise InputError(f"model: it returned {what}; logits [1, n, vocab] are needed")
    return found


def _refuse_dropout(model: Any) -> None:
    import torch

    for name, one in checks.module("model", model).named_modules():
        # Of all dimensions, for which PyTorch has no public name.
        if one.training and isinstance(one, torch.nn.modules.dropout._DropoutNd) and one.p > 0:  # pyright: ignore[reportPrivateUsage]
            raise InputError(
                f"{name}: dropout {one.p:g} is active, so what it says is random; call model.eval() first"
            )


def _end_ids(model: Any) -> set[int]:
    for config in (getattr(model, "generation_config", None), getattr(model, "config", None)):
        ends = getattr(config, "eos_token_id", None)
        if ends is not None:
            return {int(end) for end in (ends if isinstance(ends, (list, tuple)) else [ends])}
    return set()


def _kinds(tape: Tape) -> tuple[tuple[Kind, ...], list[Any], list[int]]:
    """The kinds of layers, the running count of products by row for each, and its heads."""
    alike: dict[Spans, list[int]] = {}
    for at, layer in enumerate(tape.layers):
        alike.setdefault(layer.spans, []).append(at)
    heads = [sum(int(tape.layers[at].q.shape[0]) for at in layers) for layers in alike.values()]
    counts = [np.concatenate([[0], np.cumsum(spans.row_counts())]) for spans in alike]
    kinds = tuple(
        Kind(spans.describe(), tuple(layers), n)
        for (spans, layers), n in zip(alike.items(), heads, strict=True)
    )
    return kinds, counts, heads


def _step(
    pair: tuple[NextToken, NextTokens], rows: int, end: int, counts: list[Any], heads: list[int]
) -> Step:
    added = tuple(int(count[end] - count[end - rows]) for count in counts)
    recomputed = tuple(int(count[end]) for count in counts)
    return Step(
        *pair,
        rows=rows,
        added=added,
        recomputed=recomputed,
        added_total=sum(a * n for a, n in zip(added, heads, strict=True)),
        recomputed_total=sum(r * n for r, n in zip(recomputed, heads, strict=True)),
    )
