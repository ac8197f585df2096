"""Attention that looks ahead, or not as far as it says."""

import torch

from lookbehind import Causal, First
from tests.leaks.case import Case
from tests.leaks.decoder import Attention, Plain, decoder

M0, M1 = "blocks.0.mixer", "blocks.1.mixer"


class OneAhead(Attention):
    def reach(self, i, j):
        return j <= i + 1


class NoMask(Attention):
    def reach(self, i, j):
        return j < i + 10**6


class UnmaskedHead(Attention):
    def allowed(self, view, slots, places):
        allowed = super().allowed(view, slots, places).repeat(1, self.heads, 1, 1)
        allowed[:, 2] = True
        return allowed


class Backwards(Attention):
    def reach(self, i, j):
        return j >= i


class TwoSided(Attention):
    def reach(self, i, j):
        return (j - i).abs() < self.config.sliding_window


class WholeChunk(Attention):
    """Inside its chunk a query reads everything."""

    def allowed(self, view, slots, places):
        size = self.config.attention_chunk_size
        return (slots[None, :] // size == view.slots[:, None] // size)[None, None]


class BlockCausal(Attention):
    """Causal between tiles of four, not within them."""

    def reach(self, i, j):
        return j // 4 <= i // 4


class SkippedTile(Attention):
    """The mask of one tile far from the diagonal's start is left out."""

    def reach(self, i, j):
        return (j <= i) | ((i == 3) & (j == 12))


class BufferedMask(Attention):
    """A mask kept for block_size positions; what lies beyond is not masked."""

    def reach(self, i, j):
        return (j <= i) | (i >= self.config.block_size)


class AfterSoftmax(Attention):
    def weigh(self, scores, allowed):
        return scores.softmax(-1) * allowed


class Multiplied(Attention):
    def weigh(self, scores, allowed):
        return (scores * allowed).softmax(-1)


class Finite(Attention):
    def weigh(self, scores, allowed):
        return (scores - 12.0 * (~allowed).to(scores.dtype)).softmax(-1)


class CappedMask(Attention):
    """The mask is added before the softcap, which brings it back to minus the cap."""

    def weigh(self, scores, allowed):
        return (8.0 * torch.tanh(scores.masked_fill(~allowed, -1e4) / 8.0)).softmax(-1)


class TopKOfAll(Attention):
    """The k largest of all scores are kept, the causal mask comes after: the future displaces keys."""

    def weigh(self, scores, allowed):
        least = scores.topk(min(4, scores.shape[-1]), -1).values[..., -1:]
        kept = allowed & ((scores >= least) | torch.eye(scores.shape[-1], dtype=torch.bool))
        return scores.masked_fill(~kept, -torch.inf).softmax(-1)


class LocalSensitiveHash(Attention):
    """Reformer: positions sorted by bucket over the whole sequence read within chunks of that order."""

    def allowed(self, view, slots, places):
        bucket = self.bucket
        rank = (bucket * 1000 + slots).argsort(-1).argsort(-1)
        near = (rank[:, :, None] // 4) == (rank[:, None, :] // 4)
        return (near & super().allowed(view, slots, places)[:, 0])[:, None]

    def forward(self, x, view):
        self.bucket = (self.q(x)[..., :3] > 0).long() @ torch.tensor([1, 2, 4])
        return super().forward(x, view)


class FirstRowOnly(Attention):
    """A mask without its batch axis is written to row 0."""

    def allowed(self, view, slots, places):
        allowed = super().allowed(view, slots, places).repeat(view.positions.shape[0], 1, 1, 1)
        allowed[1:] = True
        return allowed


class UnmaskedAlone(Attention):
    """A fast path for a batch of one has no mask; with neighbours all is well."""

    def allowed(self, view, slots, places):
        allowed = super().allowed(view, slots, places)
        return allowed if len(view.positions) > 1 else torch.ones_like(allowed)


class Linformer(Attention):
    """Keys and values are projected along the sequence before the mask could apply."""

    def __init__(self, config, layer):
        super().__init__(config, layer)
        self.squeeze = torch.nn.Parameter(torch.empty(6, 64))

    def forward(self, x, view):
        q, k, v = (
            part(x).unflatten(-1, (-1, self.width)).transpose(1, 2) for part in (self.q, self.k, self.v)
        )
        k, v = (
            (self.squeeze[:, : x.shape[1]] @ t).repeat_interleave(self.heads // self.kv, 1) for t in (k, v)
        )
        weights = (q @ k.transpose(-1, -2) * self.width**-0.5).softmax(-1)
        return self.o((weights @ v).transpose(1, 2).flatten(-2))


class KeySoftmax(Attention):
    """Efficient attention: the softmax of the keys runs over the sequence."""

    def forward(self, x, view):
        q, k, v = (
            part(x).unflatten(-1, (-1, self.width)).transpose(1, 2) for part in (self.q, self.k, self.v)
        )
        k, v = (t.repeat_interleave(self.heads // self.kv, 1) for t in (k.softmax(2), v))
        state = (k[..., None] * v[..., None, :]).cumsum(2)
        return self.o((q.softmax(-1)[..., None, :] @ state)[..., 0, :].transpose(1, 2).flatten(-2))


class PrefixOneMore(Attention):
    def reach(self, i, j):
        return (j <= i) | (j <= 4)


class PrefixByContent(Attention):
    """The prefix ends at the last separator (token 3) instead of the first."""

    def allowed(self, view, slots, places):
        return super().allowed(view, slots, places) | (slots <= self.ends[:, None])[:, None, None, :]


class SeparatorModel(Plain):
    def forward(self, input_ids):
        last = (input_ids == 3).long() * torch.arange(input_ids.shape[1])
        for block in self.blocks:
            block.mixer.ends = last.max(1).values
        return super().forward(input_ids)


class WindowPlusOne(Attention):
    def reach(self, i, j):
        return (j <= i) & (j >= i - self.config.sliding_window)


class WindowMinusOne(Attention):
    def reach(self, i, j):
        return (j <= i) & (j > i - self.config.sliding_window + 1)


class NoWindow(Attention):
    def reach(self, i, j):
        return j <= i


class ShiftedChunks(Attention):
    def allowed(self, view, slots, places):
        size = self.config.attention_chunk_size
        same = (slots[None, :] + 1) // size == (view.slots[:, None] + 1) // size
        return (same & (slots[None, :] <= view.slots[:, None]))[None, None]


class WindowAndSink(Attention):
    """Four sink tokens that the configuration does not speak of."""

    def reach(self, i, j):
        return (j <= i) & ((j > i - self.config.sliding_window) | (j < 1))


class BottomRightTile(Attention):
    """Bottom-right alignment of a square tile that lies elsewhere: each half may read up to the end."""

    def weigh(self, scores, allowed):
        n = scores.shape[-1]
        half = n // 2
        mask = torch.ones(half, n, dtype=torch.bool).tril(n - half)
        return torch.cat(
            (
                super().weigh(scores[..., :half, :], mask),
                super().weigh(scores[..., half:, :], allowed[..., half:, :]),
            ),
            -2,
        )


def _sees(name, mixer, culprit, note, rule="LB101", **given):
    options = given.pop("options", {})
    also = given.pop("also", ())
    return Case(name, decoder(mixer=mixer, **given), rule, culprit, options, note, also)


CASES = [
    _sees("shifted_mask", OneAhead, M0, "tril(diagonal=1): inputs already shifted by the loader"),
    _sees("shifted_mask_one_layer", {1: OneAhead}, M1, "one layer's mask is built by other code"),
    _sees("missing_mask_one_head", {1: UnmaskedHead}, M1, "a per-head mask whose loop skips a head"),
    _sees("missing_mask_one_layer", {1: NoMask}, M1, "an encoder layer copied in, its mask argument lost"),
    _sees("inverted_mask", Backwards, M0, "True means 'masked' in nn.MultiheadAttention and 'read' in sdpa"),
    _sees(
        "two_sided_window",
        {1: TwoSided},
        M1,
        "|i - j| < w replaces the causal mask",
        sliding_window=4,
        layer_types=("full_attention", "sliding_attention"),
    ),
    _sees("whole_chunk", WholeChunk, M0, "chunked attention without the causal mask", attention_chunk_size=6),
    _sees("block_causal", {1: BlockCausal}, M1, "a sparse kernel's tile on the diagonal taken as full"),
    _sees("skipped_tile", {0: SkippedTile}, M0, "one pair (3, 12) of all: a tile skipped wrongly"),
    _sees(
        "buffered_mask",
        {0: BufferedMask},
        M0,
        "GPT-2 style bias buffer shorter than the text",
        block_size=10,
        options={"length": 16},
    ),
    _sees(
        "buffered_mask_auto",
        {0: BufferedMask},
        M0,
        "the same; the length is for the audit to find",
        block_size=26,
    ),
    _sees("mask_after_softmax", AfterSoftmax, M0, "masked after the softmax: the denominator has seen all"),
    _sees("mask_times_scores", Multiplied, M0, "scores times mask: a zero is not minus infinity"),
    _sees(
        "finite_mask", Finite, M0, "a finite mask value that large scores overcome (-1e4 in float16 models)"
    ),
    _sees("softcap_over_mask", CappedMask, M0, "softcap applied after the mask"),
    _sees("top_k_of_all", {1: TopKOfAll}, M1, "sparse attention selects before it masks"),
    _sees(
        "lsh_buckets", {1: LocalSensitiveHash}, M1, "Reformer: sorting over the sequence decides who meets"
    ),
    _sees("linformer", {0: Linformer}, M0, "low-rank projection along the sequence"),
    _sees("softmax_over_keys", {0: KeySoftmax}, M0, "linear attention with the softmax on the wrong axis"),
    _sees(
        "top_left_half",
        {1: BottomRightTile},
        M1,
        "bottom-right alignment of a query tile that is not the last",
    ),
    _sees("unmasked_alone", UnmaskedAlone, M0, "a path for batch size 1 without the mask", also=("LB303",)),
    _sees(
        "first_row_only",
        FirstRowOnly,
        None,
        "a broadcast lost: only row 0 of a batch is masked",
        rule="LB303",
    ),
    _sees(
        "prefix_one_more",
        PrefixOneMore,
        M0,
        "prefix of 4 declared, 5 read both ways (<= for <)",
        options={"expect": Causal() | First(4)},
    ),
    _sees(
        "prefix_by_content",
        PrefixByContent,
        M0,
        "the prefix ends at the last separator, not the first",
        model=SeparatorModel,
    ),
    _sees(
        "window_plus_one",
        WindowPlusOne,
        None,
        "w back plus itself makes w + 1",
        rule="LB104",
        sliding_window=4,
    ),
    _sees(
        "window_minus_one", WindowMinusOne, None, "w counted without itself", rule="LB104", sliding_window=4
    ),
    _sees(
        "window_plus_one_layer",
        {1: WindowPlusOne},
        None,
        "the same in one layer",
        rule="LB104",
        sliding_window=4,
    ),
    _sees(
        "window_ignored",
        NoWindow,
        None,
        "a back end that does not know windows",
        rule="LB104",
        sliding_window=4,
    ),
    _sees(
        "window_ignored_auto",
        NoWindow,
        None,
        "the same; the length is for the audit to find",
        rule="LB104",
        sliding_window=26,
    ),
    _sees(
        "shifted_chunks",
        ShiftedChunks,
        None,
        "chunk borders counted from 1",
        rule="LB104",
        attention_chunk_size=6,
    ),
    _sees(
        "undeclared_sink",
        WindowAndSink,
        None,
        "a sink token kept beside the window",
        rule="LB104",
        sliding_window=3,
    ),
]
