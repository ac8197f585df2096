"""Bugs of public code, each as it was: its docstring ends with the thread that tells of it."""

import torch
from torch import nn

from tests.leaks.caches import CHUNK, STEP, WINDOW
from tests.leaks.case import Case
from tests.leaks.decoder import Attention, Cache, Cached, Decoder, Masked, decoder
from tests.leaks.experts import Experts
from tests.leaks.honest import ok
from tests.leaks.mixers import Conv, FourierConv, Scan
from tests.leaks.padding import PositionsOfSlots

M0, M1 = "blocks.0.mixer", "blocks.1.mixer"
SLIDING = "sliding_attention"


class MergedAsTheyLie(Attention):
    """Heads are merged without the transposition: a row holds one head's outputs at neighbouring positions.

    jsbaan/transformer-from-scratch #6.
    """

    def merge(self, y):
        return y.reshape(y.shape[0], y.shape[2], -1)


class QuerySoftmax(Attention):
    """Masked rightly, but the softmax runs down the queries: a weight is a share of what later ones give.

    haohy/TCAN #7.
    """

    def weigh(self, scores, allowed):
        return scores.masked_fill(~allowed, -torch.inf).softmax(-2)


class AddedBooleans(Attention):
    """A mask of booleans where one of floats is added: a masked score is raised by 1.

    EleutherAI/gpt-neox #139.
    """

    def weigh(self, scores, allowed):
        return (scores + ~allowed).softmax(-1)


class OpenSink(Attention):
    """The first block of keys is kept for all, queries within it included.

    gittensor-ai-lab/sparkinfer #605.
    """

    def reach(self, i, j):
        return (j < 4) | ((j <= i) & (j > i - 6))


class OpenToTheRight(Attention):
    """A window is given by how far it looks back alone, and causality is not asked for.

    jax-ml/jax #39576.
    """

    def reach(self, i, j):
        return j > i - self.config.sliding_window


class CompressedBlocks(Attention):
    """Beside the last few keys, the means of blocks of 4 that are past. `past` is the place to cheat."""

    block = 4

    def reach(self, i, j):
        return (j <= i) & (j > i - self.block)

    def past(self, i, end):
        return end <= i

    def forward(self, x, view):
        size, blocks = self.block, x.shape[1] // self.block
        means = x[:, : blocks * size].unflatten(1, (blocks, size)).mean(2)
        q = self.q(x).unflatten(-1, (-1, self.width)).transpose(1, 2)
        k, v = (
            part(means).unflatten(-1, (-1, self.width)).transpose(1, 2).repeat_interleave(2, 1)
            for part in (self.k, self.v)
        )
        scores = q @ k.transpose(-1, -2) * self.width**-0.5
        past = self.past(view.slots[:, None], size * torch.arange(blocks) + size - 1)
        weights = scores.masked_fill(~past, -torch.inf).softmax(-1).nan_to_num(0.0)
        return super().forward(x, view) + self.o(self.merge(weights @ v))


class FutureBlocks(CompressedBlocks):
    """A mask_mod that says what to leave out, where it is asked for what to keep.

    tilde-research/nsa-release #3.
    """

    def past(self, i, end):
        return end > i


class DecayedChunks(Scan):
    """Mamba 2: a scan within each chunk, and a matrix of decays by which chunks' last states reach others."""

    axis = 0  # of the chunks that are summed

    def scan(self, a, u, view):
        size, starts = self.config.chunk_size, range(0, u.shape[1], self.config.chunk_size)
        local, decay = [], []
        for start in starts:
            local.append(super().scan(a[:, start : start + size], u[:, start : start + size], view))
            decay.append(a[:, start : start + size].cumprod(1))
        ends, total = torch.stack([one[:, -1] for one in local]), torch.stack([one[:, -1] for one in decay])
        matrix = ends.new_zeros(len(local), len(local), *ends.shape[1:])
        for of in range(len(local)):
            for at in range(of + 1, len(local)):
                matrix[of, at] = total[of + 1 : at].prod(0)
        before = (matrix * ends.unsqueeze(1 - self.axis)).sum(self.axis)
        return torch.cat([one + d * s[:, None] for one, d, s in zip(local, decay, before, strict=True)], 1)


class ChunksAcross(DecayedChunks):
    """The sum runs over the other of two axes of one length: a chunk begins with the states of later ones.

    huggingface/transformers #47475.
    """

    axis = 1


class SpectralFilter(FourierConv):
    """Every frequency is multiplied by a free number: padded with zeros or not, such a filter has two sides.

    karpathy/nanochat #844.
    """

    def __init__(self, config, layer):
        super().__init__(config, layer)
        self.filter = nn.Parameter(torch.empty(2, config.hidden_size, 65))

    def forward(self, x, view):
        response = torch.complex(*self.wide(self.filter))
        y = torch.fft.irfft(torch.fft.rfft(self.wide(x).transpose(1, 2), 128) * response, 128)
        return self.out(y[..., : x.shape[1]].transpose(1, 2).to(x.dtype))


class UnmaskedBelowTopK(Attention):
    """The mask is made of the keys that were selected; where all would be, nothing is selected or masked.

    osaurus-ai/vmlx-swift #429.
    """

    def weigh(self, scores, allowed):
        most = 6
        if scores.shape[-1] <= most:
            return scores.softmax(-1)
        scores = scores.masked_fill(~allowed, -torch.inf)
        least = scores.topk(most, -1).values[..., -1:]
        return scores.masked_fill(scores < least, -torch.inf).softmax(-1)


class SortedTokens(Experts):
    """Tokens are sorted by their expert, and put back by the inverse of that order."""

    def back(self, order):
        return order.argsort(-1)

    def forward(self, x):
        chosen = self.router(x).argmax(-1)
        order = chosen.argsort(stable=True, dim=-1)
        rows = torch.arange(len(x))[:, None]
        chosen, x = chosen[rows, order], x[rows, order]
        y = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            y[chosen == e] = expert(x[chosen == e])
        return y[rows, self.back(order)]


class SortedTwice(SortedTokens):
    """Put back by that order itself, right only where it is its own inverse. There: an image's tiles.

    lablup/mlxcel #1600.
    """

    def back(self, order):
        return order


class OtherLayers(Attention):
    """The comparison that tells which layers slide is the wrong way round.

    huggingface/transformers #35896.
    """

    def __init__(self, config, layer):
        super().__init__(config, layer)
        self.kind = SLIDING if self.kind == "full_attention" else "full_attention"


class Ring(Cache):
    """Four slots, written in turns: a longer prompt writes over its first tokens before they are read."""

    size = 4

    def keep(self, layer, k, v, slots, places):
        if layer not in self.layers:
            self.layers[layer] = tuple(t.new_zeros(*t.shape[:2], self.size, t.shape[3]) for t in (k, v))
        for buffer, new in zip(self.layers[layer], (k, v), strict=True):
            for at, slot in enumerate(slots.tolist()):
                buffer[:, :, slot % self.size] = new[:, :, at]
        filled = min(self.size, int(slots[-1]) + 1)
        k, v = (buffer[:, :, :filled] for buffer in self.layers[layer])
        return k, v, torch.arange(filled), torch.arange(filled)[None]


class RingModel(Cached):
    cache = Ring


class CutMask(Attention):
    """The mask of all positions is cut to the ring's slots, whatever positions those hold by then.

    Lightning-AI/litgpt #2182.
    """

    def forward(self, x, view):
        self.cached = view.cache is not None
        return super().forward(x, view)

    def reach(self, i, j):
        return j <= i if self.cached else super().reach(i, j)


class WindowOfTheCall(Attention):
    """What a chunk's first token may read of the cache, its others may as well.

    pytorch/executorch #21857.
    """

    def reach(self, i, j):
        first = i.min()
        return torch.where(j < first, j > first - self.config.sliding_window, super().reach(i, j))


class DistanceBias(Attention):
    """T5's: a learned number for each distance. `biased` is the place to cheat."""

    def __init__(self, config, layer):
        super().__init__(config, layer)
        self.bias = nn.Embedding(64, self.heads)

    def biased(self, view):
        return True

    def scores(self, q, k, view, slots):
        scores = super().scores(q, k, view, slots)
        away = (view.slots[:, None] - slots[None, :]).clamp(min=0)
        return scores + self.bias(away).permute(2, 0, 1) if self.biased(view) else scores


class UnbiasedCache(DistanceBias):
    """With a cache another path is taken, which knows of no bias.

    NVIDIA/TensorRT-LLM #13870.
    """

    def biased(self, view):
        return view.cache is None


class PaddedConvScan(Scan):
    """Mamba: a convolution with its bias, then a scan; padding is zero before both."""

    twice = True

    def __init__(self, config, layer):
        super().__init__(config, layer)
        self.short = Conv(config, layer)
        self.into = nn.Linear(config.hidden_size, config.hidden_size, bias=False)  # of nothing, nothing

    def forward(self, x, view):
        real = 1.0 if view.padding is None else view.padding[..., None].to(x.dtype)
        x = self.short(x * real, view)
        return super().forward(x * real if self.twice else x, view)


class BiasOfPadding(PaddedConvScan):
    """It is zero before the convolution, whose bias makes something of it again.

    huggingface/transformers #32677.
    """

    twice = False


class AlignedByMask(Attention):
    """The mask is aligned bottom-right, and how many keys there are is counted without padding.

    Dao-AILab/flash-attention #611.
    """

    def allowed(self, view, slots, places):
        if view.padding is None:
            return super().allowed(view, slots, places)
        lacking = (~view.padding).sum(1)[:, None, None, None]
        near = slots[None, :] <= view.slots[:, None] - lacking
        return near | torch.eye(len(slots), dtype=torch.bool)


def _was(name, culprit, note, rule="LB101", also=(), options=None, **given):
    return Case(name, decoder(**given), rule, culprit, options or {}, note, also)


CASES = [
    _was("merged_as_they_lie", M0, "reshape without the transposition", mixer={0: MergedAsTheyLie}),
    _was("softmax_over_queries", M1, "softmax(dim=-2)", mixer={1: QuerySoftmax}),
    _was("added_booleans", M0, "a boolean mask is added", mixer={0: AddedBooleans}),
    _was("open_sink", M1, "sink keys without a causal bound", mixer={1: OpenSink}),
    _was("open_to_the_right", M0, "a window without its right bound", mixer=OpenToTheRight, **WINDOW),
    _was("future_blocks", M0, "the mask of compressed blocks inverted", mixer={0: FutureBlocks}),
    _was(
        "chunks_across",
        M1,
        "states of chunks summed over the wrong axis",
        mixer={1: ChunksAcross},
        chunk_size=6,
    ),
    _was("spectral_filter", M0, "a free response at every frequency", mixer={0: SpectralFilter}),
    _was(
        "unmasked_below_top_k",
        None,
        "no mask where all keys would be selected",
        rule="LB102",
        mixer={1: UnmaskedBelowTopK},
    ),
    _was("sorted_twice", "blocks.1.mlp", "a permutation taken for its inverse", mlp={1: SortedTwice}),
    _was(
        "other_layers",
        None,
        "the other layers slide",
        rule="LB104",
        mixer=OtherLayers,
        layer_types=(SLIDING, "full_attention"),
        **WINDOW,
    ),
    _was(
        "ring_before_reading",
        None,
        "a prompt longer than the window reads its own end",
        rule=CHUNK,
        mixer=CutMask,
        model=RingModel,
        **WINDOW,
    ),
    _was(
        "window_of_the_call",
        None,
        "one row of the mask for all of a chunk",
        rule=CHUNK,
        mixer=WindowOfTheCall,
        model=Cached,
        **WINDOW,
    ),
    _was(
        "unbiased_cache",
        None,
        "a bias that is left out with a cache",
        rule=STEP,
        mixer={0: UnbiasedCache},
        model=Cached,
    ),
    _was(
        "bias_of_padding",
        None,
        "padding is zero before a convolution and not after it",
        rule="LB301",
        mixer={0: BiasOfPadding},
        model=Masked,
    ),
    _was(
        "aligned_by_mask",
        None,
        "bottom-right by the number of real keys",
        rule="LB302",
        mixer=AlignedByMask,
        model=Masked,
    ),
]

# Those of them, put right, whose like is not in honest.py.
HONEST = [
    ok(
        "compressed_blocks",
        "means of blocks that are past, beside the last keys",
        mixer={0: CompressedBlocks},
    ),
    ok("decayed_chunks", "chunks' states by a matrix of decays", mixer={1: DecayedChunks}, chunk_size=6),
    ok("sorted_tokens", "tokens sorted by their expert and put back", mlp={1: SortedTokens}),
    ok("distance_bias", "a learned number for each distance", mixer=DistanceBias, model=Decoder),
    ok(
        "padded_conv_scan",
        "padding is zero before a convolution and before a scan",
        mixer={0: PaddedConvScan},
        model=PositionsOfSlots,
    ),
]
