"""A tape: the queries, keys and spans of one sequence, and every score and weight that follows from them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lookbehind import checks
from lookbehind.attention import logsumexp, observe
from lookbehind.engines.observation import Observation
from lookbehind.errors import InputError
from lookbehind.spans import Spans
from lookbehind.tape.predictions import Candidate, Next, Predictions

if TYPE_CHECKING:
    from lookbehind.atlas import Exported
    from lookbehind.atlas.serving import Viewing
    from lookbehind.heads import HeadTable

_CELLS = 1 << 27  # the largest dense answer: 512 MB in float32


@dataclass(eq=False)
class Layer:
    """One attention layer of a tape.

    Attributes:
        name: path of the module in the recorded model.
        q: [Hq, Lq, D], as the kernel was given them (after rotary embedding and norms).
        k: [Hkv, Lk, D], un-repeated where the model hands them un-repeated.
        spans: which products were computed; row r is query r.
        scale: s_ij = scale * q_i.k_j.
        softcap: None, or c of s = c * tanh(s / c).
        sinks: None, or [Hq], one more logit per head.
        alibi: None, or [Hq] slopes, s += slope * (j - i).
    """

    name: str
    q: torch.Tensor
    k: torch.Tensor
    spans: Spans
    scale: float
    softcap: float | None = None
    sinks: torch.Tensor | None = None
    alibi: torch.Tensor | None = None
    known_lse: torch.Tensor | None = field(default=None, repr=False)

    @property
    def n_heads(self) -> int:
        """Query heads."""
        return self.q.shape[0]

    @property
    def n_kv_heads(self) -> int:
        """Key heads as stored."""
        return self.k.shape[0]

    @property
    def n_queries(self) -> int:
        """Rows."""
        return self.q.shape[1]

    @property
    def n_keys(self) -> int:
        """Keys."""
        return self.k.shape[1]

    @property
    def lse(self) -> torch.Tensor:
        """log sum_j exp(s_ij), [Hq, Lq]; computed on first use and kept. -inf for a query with no key."""
        if self.known_lse is None:
            self.known_lse = self.part().lse_now()
        return self.known_lse

    def part(
        self,
        heads: slice = slice(None),
        queries: slice = slice(None),
        keys: slice = slice(None),
    ) -> Layer:
        """This layer for some of its heads, rows and keys; its lse stays that of the whole rows.

        Heads are one head or all of them.
        """
        first, last, _ = heads.indices(self.n_heads)
        group = self.n_heads // self.n_kv_heads
        whole = (first, last) == (0, self.n_heads)
        kv_heads = slice(None) if whole else slice(first // group, first // group + 1)
        every_key = keys == slice(None)
        lse = None if self.known_lse is None else self.known_lse[heads, queries]
        cut = replace(
            self,
            q=self.q[heads, queries],
            k=self.k[kv_heads],
            spans=self.spans if (queries, keys) == (slice(None), slice(None)) else self.spans.region(queries),
            sinks=None if self.sinks is None else self.sinks[heads],
            alibi=None if self.alibi is None else self.alibi[heads],
            known_lse=lse,
        )
        if every_key:
            return cut
        cut.known_lse = cut.lse  # the normalisation is over all keys, whichever are looked at
        return replace(cut, k=cut.k[:, keys], spans=cut.spans.region(keys=keys))

    def lse_now(self) -> torch.Tensor:
        """The lse over these keys, computed."""
        return logsumexp(self.q[None], self.k[None], self.spans, **self.parameters())[0]

    def parameters(self) -> dict[str, Any]:
        """What `lookbehind.attend` and `observe` take beside q, k and the pattern."""
        return {"scale": self.scale, "softcap": self.softcap, "sinks": self.sinks, "alibi": self.alibi}

    def scores(self) -> torch.Tensor:
        """Every score [Hq, Lq, Lk], NaN where none was computed. For small lengths.

        float32, as `weights` are; float64 where the queries are.
        """
        scores, hidden = self._exact_scores()
        return scores.masked_fill_(hidden, torch.nan).to(self._dtype)

    @property
    def _dtype(self) -> torch.dtype:
        return torch.float64 if self.q.dtype == torch.float64 else torch.float32

    @torch.no_grad()
    def _exact_scores(self) -> tuple[torch.Tensor, torch.Tensor]:
        # Of all pairs, and which of them were not computed. float64: neither autocast nor a reduced precision
        # of float32 products rounds that.
        q = self.q.double().unflatten(0, (self.n_kv_heads, -1))
        scores = (q @ self.k.double()[:, None].transpose(-1, -2)).flatten(0, 1) * self.scale
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        if self.alibi is not None:
            i = torch.arange(self.n_queries, device=scores.device)[:, None] + self.spans.offset
            j = torch.arange(self.n_keys, device=scores.device)
            scores = scores + self.alibi.to(scores)[:, None, None] * (j - i)
        return scores, torch.from_numpy(~self.spans.mask()).to(scores.device)

    def weights(self) -> torch.Tensor:
        """Every weight [Hq, Lq, Lk], 0 where no product was computed. For small lengths."""
        lse = self.lse.double()[..., None]
        scores, hidden = self._exact_scores()
        return torch.exp(scores - lse).masked_fill_(hidden | (lse == -math.inf), 0.0).to(self._dtype)

    def __repr__(self) -> str:
        heads = f"{self.n_heads} heads" + (
            "" if self.n_kv_heads == self.n_heads else f" on {self.n_kv_heads} kv heads"
        )
        extras = [what for what in ("softcap", "sinks", "alibi") if getattr(self, what) is not None]
        return (
            f"<Layer {self.name}: {heads}, {self.n_queries} queries x {self.n_keys} keys, "
            f"{self.spans.describe()}" + "".join(f", {what}" for what in extras) + ">"
        )


@dataclass(eq=False)
class Tape:
    """What one sequence computed, layer by layer.

    Attributes:
        layers: attention layers in the order in which they ran.
        token_ids: one per position, or None where the model was not given ids.
        tokens: their strings, or None without a tokenizer.
        steps: how many queries each forward added: the prompt's first, decoded tokens after it.
        meta: model, dtype, versions.
        skipped: (name, class, reason) of layers without softmax attention.
        complete: False where recording was cut off; what is there is right.
        predictions: what the model said would come after each row; None where no forward returned logits.
        vocabulary: the text of each token id in `predictions`, or None without a tokenizer.
        directory: where it was loaded from, or None.
    """

    layers: list[Layer]
    token_ids: list[int] | None = None
    tokens: list[str] | None = None
    steps: list[int] = field(default_factory=list[int])
    meta: dict[str, str] = field(default_factory=dict[str, str])
    skipped: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    complete: bool = True
    predictions: Predictions | None = None
    vocabulary: dict[int, str] | None = None
    directory: Path | None = None

    @property
    def n_layers(self) -> int:
        """Attention layers."""
        return len(self.layers)

    @property
    def n_queries(self) -> int:
        """Rows of each layer."""
        return self.layers[0].n_queries if self.layers else 0

    @property
    def n_keys(self) -> int:
        """Keys of each layer."""
        return self.layers[0].n_keys if self.layers else 0

    def layer(self, layer: int) -> Layer:
        """Layer number `layer`; negative numbers count from the last.

        Raises:
            InputError: there is no such layer.
        """
        return self.layers[checks.one_of("layer", layer, self.n_layers, from_last=True)]

    def weights(
        self,
        layer: int,
        head: int,
        query: int | None = None,
        *,
        queries: slice | None = None,
        keys: slice | None = None,
    ) -> torch.Tensor:
        """Exact weights: one row [n_keys], or those of a region [queries, keys]; float32, of a float64 tape
        float64. 0 where no product was computed.

        Args:
            layer: number of the layer; it, head and query count from the last where they are negative.
            head: number of the query head.
            query: row number of one query.
            queries: rows instead of one query; all of them if neither is given.
            keys: keys; all of them unless given.

        Raises:
            InputError: there is no such layer, head, query or region, both query and queries are given, or
                the region has more than 2**27 cells.
        """
        part, single = self._part("weights", layer, head, query, queries, keys)
        return part.weights()[0, 0] if single else part.weights()[0]

    def scores(
        self,
        layer: int,
        head: int,
        query: int | None = None,
        *,
        queries: slice | None = None,
        keys: slice | None = None,
    ) -> torch.Tensor:
        """Exact scores, with the arguments, shape, dtype and errors of `weights`; NaN where no product was
        computed.
        """
        part, single = self._part("scores", layer, head, query, queries, keys)
        return part.scores()[0, 0] if single else part.scores()[0]

    def map(
        self,
        layer: int,
        head: int,
        size: int | tuple[int, int] = 512,
        reduce: str = "mean",
        *,
        of: str = "weight",
        queries: slice | None = None,
        keys: slice | None = None,
    ) -> torch.Tensor:
        """Weights or scores of a region pooled to at most `size` pixels a side: [R, C], of `weights`' dtype.

        Each pixel is exact over the products computed inside it, and NaN where there is none. The region's
        weights are those of its whole rows: nothing is renormalised.

        Args:
            layer: number of the layer.
            head: number of the query head.
            size: pixels a side, or (rows, columns).
            reduce: "mean", "max" or "sum".
            of: "weight" or "score".
            queries, keys: the region; everything unless given.

        Raises:
            InputError: there is no such layer, head, region, size, `reduce` or `of`.
        """
        found = self.layer(layer)
        one = slice(head := checks.one_of("head", head, found.n_heads, from_last=True), head + 1)
        part = found.part(one, *_region(found, queries, keys))
        side = size if isinstance(size, (tuple, list)) else (size, size)
        seen = observe(
            part.q[None],
            part.k[None],
            part.lse[None],
            part.spans,
            map=side,
            map_reduce=reduce,
            map_of=of,
            **part.parameters(),
        )
        assert seen.map is not None  # it was asked for
        return seen.map[0, 0]

    def observe(self, layer: int, **wants: Any) -> Observation:
        """`lookbehind.observe` over one layer; results without the batch axis ([Hq, Lk] for `received`).

        Raises:
            InputError: there is no such layer, or what is asked for is none of `observe`'s.
        """
        part = self.layer(layer)
        seen = observe(part.q[None], part.k[None], part.lse[None], part.spans, **part.parameters(), **wants)
        values = {one.name: getattr(seen, one.name) for one in fields(seen)}
        for name, value in values.items():
            if isinstance(value, dict):
                values[name] = {key: mass[0] for key, mass in value.items()}
            elif value is not None and name != "visible":
                values[name] = value[0]
        return Observation(**values)

    def next(self, query: int) -> Next:
        """The model's next-token distribution after a query, as recorded, and the token that came.

        Args:
            query: row number; negative numbers count from the last.

        Raises:
            InputError: there is no such row, or what the model said after it was not recorded.
        """
        row = checks.one_of("query", query, self.n_queries, from_last=True)
        said = self._said("next")
        if not said.known[row]:
            known = said.known.nonzero().flatten().tolist()
            raise InputError(
                f"next: what the model said after query {row} was not recorded, because its forward returned "
                f"no logits for it; the first recorded is query {known[0]}, of {len(known):,}"
            )
        ids, shares = said.ids[row].tolist(), said.probabilities[row].tolist()
        top = [Candidate(self._text(one), one, p) for one, p in zip(ids, shares, strict=True) if one >= 0]
        loss, position = float(said.loss[row]), self.layers[0].spans.offset + row + 1
        came = None
        if loss == loss and self.token_ids is not None and position < len(self.token_ids):
            one = self.token_ids[position]
            text = self._text(one) if self.tokens is None else self.tokens[position]
            came = Candidate(text, one, math.exp(-loss))
        return Next(row, tuple(top), came)

    def loss(self) -> torch.Tensor:
        """-log p of the token that came after each query, in nats: float32 [n_queries], NaN where unknown.

        Raises:
            InputError: nothing of it was recorded.
        """
        return self._said("loss").loss

    def heads(self) -> HeadTable:
        """A table of what each head does; see `lookbehind.heads`."""
        from lookbehind.heads import head_table

        return head_table(self)

    def export(
        self, path: str | Path, layer: int | None = None, head: int | None = None, **options: Any
    ) -> Exported:
        """Draw into a picture or a page; see `lookbehind.atlas.export` for options and errors."""
        from lookbehind.atlas import export

        return export(self, path, layer, head, **options)

    def view(self, **options: Any) -> Viewing:
        """Show in the browser, every head as a map; see `lookbehind.atlas.serving.view`.

        Returns what is being shown: its `url`; `close()` ends it, and `wait()` waits for that.
        """
        from lookbehind.atlas.serving import view

        return view(self, **options)

    def save(self, directory: str | Path) -> None:
        """Write into a new directory, all of it or nothing. `lookbehind.load` reads it.

        Raises:
            InputError: the directory exists and is not empty.
            StorageError: it cannot be made or written.
        """
        from lookbehind.tape.files import save

        save(self, checks.path("save", directory))

    def to(self, device: torch.device | str) -> Tape:
        """The same tape with its tensors on a device, where its questions are then answered.

        Raises:
            InputError: there is no such device here.
        """
        device = checks.device(device)

        def moved(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else tensor.to(device)

        layers = [
            replace(
                one,
                q=one.q.to(device),
                k=one.k.to(device),
                sinks=moved(one.sinks),
                alibi=moved(one.alibi),
                known_lse=moved(one.known_lse),
            )
            for one in self.layers
        ]
        return replace(self, layers=layers)

    def __repr__(self) -> str:
        steps = f"{self.steps[0]} + {len(self.steps) - 1} steps" if len(self.steps) > 1 else "one forward"
        about = ", ".join(self.meta[key] for key in ("model", "dtype") if key in self.meta)
        heads = sorted({layer.n_heads for layer in self.layers})
        return (
            f"<Tape: {self.n_layers} layers x {'/'.join(map(str, heads)) or 0} heads, {self.n_queries} "
            "queries x "
            f"{self.n_keys} keys ({steps})"
            + (f", {len(self.skipped)} layers without attention" if self.skipped else "")
            + (f", {about}" if about else "")
            + ("" if self.complete else ", cut off")
            + ">"
        )

    def _said(self, asked: str) -> Predictions:
        if self.predictions is None:
            raise InputError(
                f"{asked}: this tape holds no next-token distributions; record it again from token ids, with "
                "a model that returns logits"
            )
        return self.predictions

    def _text(self, one: int) -> str | None:
        return None if self.vocabulary is None else self.vocabulary.get(one)

    def _part(
        self,
        asked: str,
        layer: int,
        head: int,
        query: int | None,
        queries: slice | None,
        keys: slice | None,
    ) -> tuple[Layer, bool]:
        found = self.layer(layer)
        head = checks.one_of("head", head, found.n_heads, from_last=True)
        if query is not None:
            if queries is not None:
                raise InputError(f"{asked}: give one query or a slice of queries, not both")
            row = checks.one_of("query", query, found.n_queries, from_last=True)
            queries = slice(row, row + 1)
        rows, columns = _region(found, queries, keys)
        part = found.part(slice(head, head + 1), rows, columns)
        if part.n_queries * part.n_keys > _CELLS:
            raise InputError(
                f"{asked}: {part.n_queries:,} x {part.n_keys:,} dense {asked} are too many to hold; "
                "narrow queries= and keys=, or pool them with tape.map()"
            )
        return part, query is not None


def join(pieces: Sequence[Sequence[Layer]]) -> Iterator[Layer]:
    """Whole layers, one at a time, from the rows that each forward added (keys numbered absolutely)."""
    stacked: dict[tuple[int, ...], Spans] = {}
    for rows in zip(*pieces, strict=True):
        key = tuple(id(row.spans) for row in rows)
        if key not in stacked:
            stacked[key] = Spans.stack([row.spans for row in rows])
        # Slopes that one forward could not tell are told by another; the rest is the same in all.
        yield replace(
            rows[-1],
            q=torch.cat([row.q for row in rows], 1),
            k=torch.cat([row.k for row in rows], 1),
            spans=stacked[key],
        )


def _region(layer: Layer, queries: slice | None, keys: slice | None) -> tuple[slice, slice]:
    """Both as slices; `slice(None)` where they are left out."""
    for name, one, length in (("queries", queries, layer.n_queries), ("keys", keys, layer.n_keys)):
        checks.part(name, one, length)
    return queries or slice(None), keys or slice(None)
