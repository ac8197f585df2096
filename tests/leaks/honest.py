"""Models that only look like cheats. Each is causal; some round differently when the future changes."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from lookbehind import Causal, First, Window
from tests.leaks.caches import (
    WINDOW,
    CachedConv,
    CachedScan,
    CachedShift,
    CroppedModel,
    Making,
    RollingModel,
)
from tests.leaks.case import Case
from tests.leaks.decoder import (
    MLP,
    Attention,
    Cached,
    Decoder,
    Embedding,
    FloatRMSNorm,
    Masked,
    Output,
    Plain,
    RMSNorm,
    decoder,
)
from tests.leaks.experts import Experts, fill
from tests.leaks.mixers import (
    ChunkedScan,
    Conv,
    FourierConv,
    Hourglass,
    LinearAttention,
    Recurrent,
    Shift,
    SpatialGate,
)
from tests.leaks.norms import NoRepeat, RuledOut
from tests.leaks.packing import ResetScan


class RowMaximum(Attention):
    """A softmax by hand, minus the maximum over masked keys too: the same number, rounded otherwise."""

    def weigh(self, scores, allowed):
        raised = (scores - scores.amax(-1, keepdim=True)).exp() * allowed
        return raised / raised.sum(-1, keepdim=True)


class MinimumMask(Attention):
    """finfo.min is added, as in transformers: exp gives an exact zero."""

    def weigh(self, scores, allowed):
        return (scores + torch.finfo(scores.dtype).min * (~allowed).to(scores.dtype)).softmax(-1)


class FloatSoftmax(Attention):
    def weigh(self, scores, allowed):
        return super().weigh(scores.float(), allowed).to(scores.dtype)


class KeyAlibi(Attention):
    """ALiBi by the key's absolute position (Bloom): the future's length shifts all scores of a row alike."""

    def scores(self, q, k, view, slots):
        slopes = 2.0 ** -torch.arange(1, self.heads + 1, dtype=q.dtype)
        raw = q @ k.transpose(-1, -2) * self.width**-0.5
        return raw + slopes[:, None, None] * (slots - slots[-1]).to(q.dtype)


class SteepAlibi(Attention):
    """ALiBi so steep that what the window still allows is too small to be seen."""

    def scores(self, q, k, view, slots):
        away = (slots[None, :] - view.slots[:, None]).to(q.dtype)
        return q @ k.transpose(-1, -2) * self.width**-0.5 + 4.0 * away


class LogPosition(Attention):
    """Log-n scaling by the query's own position."""

    def scores(self, q, k, view, slots):
        grow = torch.log(view.slots.to(q.dtype) + 2) / math.log(8.0)
        return super().scores(q, k, view, slots) * grow[:, None]


class TopKOfPast(Attention):
    """Masked first, selected after."""

    def weigh(self, scores, allowed):
        scores = scores.masked_fill(~allowed, -torch.inf)
        least = scores.topk(min(4, scores.shape[-1]), -1).values[..., -1:]
        return scores.masked_fill(scores < least, -torch.inf).softmax(-1)


class Sdpa(Attention):
    """The fused kernel."""

    def forward(self, x, view):
        q, k, v = (
            part(x).unflatten(-1, (-1, self.width)).transpose(1, 2) for part in (self.q, self.k, self.v)
        )
        q, k = self.place(q, k, view)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.o(y.transpose(1, 2).flatten(-2))


class Retention(Attention):
    """RetNet: weights gamma ** (i - j), no softmax."""

    def weigh(self, scores, allowed):
        n = torch.arange(scores.shape[-1])
        away = (n[:, None] - n).clamp(min=0).to(scores.dtype)
        return scores * 0.8**away * allowed


class PrefixReader(Attention):
    def reach(self, i, j):
        return (j <= i) | (j < 4)


class Streaming(Attention):
    """StreamingLLM: a window of 4 and the first token."""

    def reach(self, i, j):
        return (j <= i) & ((j > i - 4) | (j < 1))


class TorchAttention(nn.Module):
    """nn.MultiheadAttention with its mask the right way round."""

    def __init__(self, config, layer):
        super().__init__()
        self.inner = nn.MultiheadAttention(config.hidden_size, 4, batch_first=True)

    def forward(self, x, view):
        n = x.shape[1]
        mask = torch.ones(n, n, dtype=torch.bool).triu(1)
        return self.inner(x, x, x, attn_mask=mask, need_weights=False, is_causal=True)[0]


class TotalMinusRest(nn.Module):
    """A cumulative sum as the total minus what comes after: the future is added and taken off again."""

    def __init__(self, config, layer):
        super().__init__()
        self.out = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x, view):
        after = x.flip(1).cumsum(1).flip(1) - x
        past = x.sum(1, keepdim=True) - after
        return self.out(past / torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None])


class LogSum(nn.Module):
    """A running softmax average, stabilised by the maximum of the whole sequence."""

    def __init__(self, config, layer):
        super().__init__()
        self.score, self.value = (nn.Linear(config.hidden_size, config.hidden_size) for _ in range(2))

    def forward(self, x, view):
        s = self.score(x)
        w = (s - s.amax(1, keepdim=True)).exp()
        return (w * self.value(x)).cumsum(1) / w.cumsum(1)


class RunningMean(RMSNorm):
    """Normalised by what came so far (cumulative layer norm)."""

    def forward(self, x):
        count = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True).cumsum(1) / count + 1e-6)


class RunningBatchNorm(nn.Module):
    """BatchNorm in evaluation: fixed statistics."""

    def __init__(self, config):
        super().__init__()
        self.inner = nn.BatchNorm1d(config.hidden_size)
        self.inner.running_mean.normal_(0, 0.1)

    def forward(self, x):
        return self.inner(x.transpose(1, 2)).transpose(1, 2)


class Peak(MLP):
    """The largest activation so far."""

    def forward(self, x):
        return super().forward(x.cummax(1).values)


class DroppedMLP(MLP):
    """Dropout, jitter noise: off in evaluation."""

    def forward(self, x):
        if self.training:
            x = x * torch.empty_like(x).uniform_(0.9, 1.1)
        return F.dropout(super().forward(x), 0.5, self.training)


class TokenQuantized(MLP):
    """Dynamic int8, one scale per token."""

    def forward(self, x):
        scale = x.abs().amax(-1, keepdim=True) / 127
        return super().forward((x / scale).round() * scale)


class HalfInside(MLP):
    """Computes in float16 whatever comes in."""

    def forward(self, x):
        up = F.linear(x.half(), self.up.weight.half(), self.up.bias.half())
        return F.linear(F.silu(up), self.down.weight.half(), self.down.bias.half()).to(x.dtype)


class JitterExperts(Experts):
    """Noise on the router in training only, a correction bias, a shared expert."""

    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("correction", torch.linspace(-0.2, 0.2, self.n))
        self.common = MLP(config)

    def route(self, scores):
        if self.training:
            scores = scores + torch.randn_like(scores)
        chosen = (scores.sigmoid() + self.correction).topk(self.k, -1).indices
        return torch.zeros_like(scores).scatter(-1, chosen, scores.sigmoid().gather(-1, chosen))

    def forward(self, x):
        return super().forward(x) + self.common(x)


class FilledByPosition(Experts):
    """A fixed capacity within the row, filled in order: a token can only be displaced by earlier ones."""

    def route(self, scores):
        weights = super().route(scores)
        return fill(weights, torch.arange(scores.shape[1])[None, :, None].expand_as(weights), 4)


class RoundedRouter(Experts):
    """Scores rounded so that ties abound, broken by index."""

    def route(self, scores):
        rounded = (2 * scores).round() / 2
        order = rounded * 100 - torch.arange(self.n, dtype=scores.dtype)
        chosen = order.topk(1, -1).indices
        return torch.zeros_like(scores).scatter(-1, chosen, 1.0)


class LateHourglass(Hourglass):
    """Shifted by one first, so that each position reads itself and its past."""

    def even(self, x):
        n = x.shape[1]
        return F.pad(x, (0, 0, 1, 0))[:, : n + n % 2]


class PastBigram(Embedding):
    def forward(self, input_ids, positions):
        before = F.pad(input_ids, (1, 0))[:, :-1]
        return super().forward(input_ids, positions) + 0.5 * self.tokens((input_ids * 7 + before) % 31)


class SinceToken(Embedding):
    """A task token (9) turns its embedding on from there on."""

    def forward(self, input_ids, positions):
        found = ((input_ids == 9).cumsum(1) > 0).to(self.tokens.weight.dtype)[..., None]
        return super().forward(input_ids, positions) + found * self.tokens.weight[9]


class Magnified(Plain):
    """Logits in the tens of thousands."""

    def forward(self, input_ids):
        return 1e4 * super().forward(input_ids)


class HugeResidual(Embedding):
    """Massive activations: one channel a thousand times the others."""

    def forward(self, input_ids, positions):
        x = super().forward(input_ids, positions)
        return torch.cat((1e3 * x[..., :1], x[..., 1:]), -1)


class Tuple(Plain):
    """Returns a tuple, the logits first."""

    def forward(self, input_ids):
        return super().forward(input_ids), None


class Named(Plain):
    """Takes labels and returns an object."""

    def forward(self, input_ids, labels=None):
        return Output(super().forward(input_ids))


class FixedCapacity(Plain):
    """Computes at a fixed length and cuts: the text is padded at the end."""

    def forward(self, input_ids):
        n = input_ids.shape[1]
        return super().forward(F.pad(input_ids, (0, max(0, 32 - n))))[:, :n]


class SkipsOnes(Masked):
    """An all-ones mask is dropped, which saves a kernel."""

    def view(self, input_ids, mask, position_ids, cache):
        return super().view(input_ids, None if mask is None or mask.all() else mask, position_ids, cache)


class Halves(nn.Module):
    """Runs the blocks over one row at a time."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.config = inner, inner.config

    def forward(self, input_ids):
        return torch.cat([self.inner(row[None]) for row in input_ids])


class TorchEncoder(nn.Module):
    """nn.TransformerEncoder with a causal mask: an encoder by name, a decoder by mask."""

    def __init__(self, seed):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed = nn.Embedding(31, 16)
            layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
            self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(16, 31)
        self.eval()

    def forward(self, input_ids):
        n = input_ids.shape[1]
        mask = torch.ones(n, n, dtype=torch.bool).triu(1)
        return self.head(self.layers(self.embed(input_ids), mask=mask))


def as_function(seed):
    """No module at all."""
    inner = decoder()(seed)
    return lambda ids: inner(ids)


class OwnPadding(Plain):
    """Masks padding wherever it is, and counts positions without it."""

    def forward(self, input_ids):
        return self.run(input_ids, (input_ids != self.config.pad_token_id).long()).logits


class OwnDocuments(Plain):
    """A document ends with its end token; none sees another."""

    def view(self, input_ids, mask, position_ids, cache):
        view = super().view(input_ids, mask, position_ids, cache)
        ends = (input_ids == self.config.eos_token_id).long()
        view.documents = ends.cumsum(1) - ends
        return view


def ok(name, note, make=None, options=None, dtypes=None, undecided=(), **given):
    more = {"dtypes": dtypes} if dtypes else {}
    return Case(name, make or decoder(**given), None, None, options or {}, note, undecided=undecided, **more)


SLIDING = "sliding_attention"
HONEST = [
    ok("rope", "everything on: mask, position_ids, cache", model=Decoder),
    ok("learned", "learned positions with everything on", model=Decoder, positions="learned"),
    ok("alibi", "a bias that grows with the distance", model=Decoder, positions="alibi"),
    ok(
        "key_alibi",
        "ALiBi by absolute key position: rounding sees the length",
        mixer=KeyAlibi,
        model=Cached,
        positions="none",
    ),
    ok(
        "steep_window",
        "a window whose far end weighs 1e-19: to be there without being seen is no fault",
        mixer=SteepAlibi,
        sliding_window=12,
        undecided=("LB104",),
    ),
    ok("no_positions", "NoPE: only the mask tells positions apart", model=Decoder, positions="none"),
    ok("sliding_window", "influence ends at the window", model=Decoder, **WINDOW),
    ok(
        "mixed_layers",
        "window and full layers",
        model=Decoder,
        layer_types=(SLIDING, "full_attention"),
        **WINDOW,
    ),
    ok("chunked", "influence ends at chunk borders", model=Decoder, attention_chunk_size=6),
    ok("rolling_cache", "a cache that forgets what no window reaches", model=RollingModel, **WINDOW),
    ok("cropped_cache", "rejected tokens are taken back from the cache", model=CroppedModel, **WINDOW),
    ok("sinks", "a learned extra logit per head", model=Decoder, sinks=True),
    ok(
        "streaming",
        "a window and a first token, declared",
        mixer=Streaming,
        options={"expect": Causal() & (Window(7) | First(1))},
    ),
    ok("softcap", "tanh over the scores", model=Decoder, softcap=2.0),
    ok("tied_weights", "embedding and head are one tensor", tie_word_embeddings=True),
    ok("one_head_for_all", "multi-query attention", model=Decoder, num_key_value_heads=1),
    ok(
        "prefix",
        "reads its first 4 both ways, declared",
        mixer=PrefixReader,
        options={"expect": Causal() | First(4)},
    ),
    ok("row_maximum", "the maximum runs over masked keys: rounding sees the future", mixer=RowMaximum),
    ok("minimum_mask", "finfo.min instead of -inf", model=Decoder, mixer=MinimumMask),
    ok(
        "float_inside",
        "norms and softmax in float32, as transformers has them",
        model=Decoder,
        norm=FloatRMSNorm,
        mixer=FloatSoftmax,
    ),
    ok("half_inside", "an MLP in float16", mlp=HalfInside),
    ok("float16", "float16 throughout", model=Decoder, dtypes=("float16",)),
    ok("float64", "float64 throughout", model=Decoder, dtypes=("float64",)),
    ok("log_position", "a scale that grows with the query's own position", mixer=LogPosition),
    ok("top_k_of_past", "masked first, selected after", mixer=TopKOfPast),
    ok("fused_kernel", "sdpa, is_causal", mixer=Sdpa),
    ok("torch_attention", "nn.MultiheadAttention", mixer=TorchAttention),
    ok("torch_encoder", "an encoder by name", make=TorchEncoder),
    ok("retention", "no softmax, a decay", mixer=Retention),
    ok("linear_attention", "cumulative sums", mixer=LinearAttention),
    ok("total_minus_rest", "the future is added and taken off again: rounding", mixer={1: TotalMinusRest}),
    ok("log_sum", "stabilised by the maximum of the whole sequence: rounding", mixer={0: LogSum}),
    ok("causal_conv", "padded in front", mixer={0: Conv, 1: CachedConv}),
    ok("cached_conv", "its state is its last inputs", mixer={0: CachedConv}, model=Cached),
    ok(
        "fourier_conv",
        "a zero-padded FFT, in float32 even from bfloat16: rounding sees the future",
        mixer={0: FourierConv},
    ),
    ok("makes_a_cache", "use_cache makes a cache that is never taken", model=Making),
    ok("cached_scan", "a selective scan with its state", mixer=CachedScan, model=Cached),
    ok("chunked_scan", "a scan in chunks of 6", mixer=ChunkedScan, chunk_size=6),
    ok("reset_scan", "state that starts afresh with each document", mixer={1: ResetScan}, model=Plain),
    ok("recurrent", "a one-way GRU", mixer={1: Recurrent}),
    ok("token_shift", "the previous position's state", mixer={0: CachedShift, 1: Shift}),
    ok("cached_shift", "the previous position's state, cached", mixer={0: CachedShift}, model=Cached),
    ok("spatial_gate", "an n x n matrix with its triangle", mixer={0: SpatialGate}),
    ok("late_hourglass", "pooled pairs, shifted by one pair less one", mixer={1: LateHourglass}),
    ok("running_norm", "statistics of what came so far", norm=RunningMean),
    ok("batch_norm_fixed", "BatchNorm in evaluation", norm=RunningBatchNorm),
    ok("running_peak", "cummax", mlp={1: Peak}),
    ok("dropout_off", "dropout and jitter, off in evaluation", mlp=DroppedMLP, model=Decoder),
    ok("token_quantized", "int8 with a scale per token", mlp=TokenQuantized),
    ok(
        "experts",
        "top-2 of 4; the future changes how many tokens an expert multiplies at once",
        mlp=Experts,
        model=Decoder,
    ),
    ok(
        "jitter_experts",
        "router noise in training only, a correction bias, a shared expert",
        mlp=JitterExperts,
    ),
    ok("filled_by_position", "experts with a fixed capacity, filled in order", mlp={1: FilledByPosition}),
    ok("rounded_router", "router ties broken by index", mlp={0: RoundedRouter}),
    ok(
        "rounding_routes",
        "rounding that sees the future, enlarged by a rounded router",
        mixer=RowMaximum,
        mlp=RoundedRouter,
    ),
    ok(
        "rounding_selects",
        "rounding that sees the future, enlarged by a selection of keys",
        mixer={0: TotalMinusRest, 1: TopKOfPast},
        mlp={0: TokenQuantized, 1: Experts},
    ),
    ok("past_bigram", "hashed bigrams of (i - 1, i)", embed=PastBigram),
    ok("since_token", "a token that changes everything after it", embed=SinceToken),
    ok("own_padding", "padding told by its token", model=OwnPadding, positions="learned", pad_token_id=0),
    ok("own_documents", "documents told apart by their ends", model=OwnDocuments, eos_token_id=2),
    ok("ruled_out", "finfo.min for tokens that must not come", model=RuledOut),
    ok("no_repeat", "finfo.min for tokens that the text holds already", model=NoRepeat),
    ok("big_logits", "logits in the tens of thousands", model=Magnified),
    ok("massive_activations", "one channel a thousand times the others", embed=HugeResidual, model=Decoder),
    ok("tuple_output", "a tuple", model=Tuple),
    ok("labels", "a forward with labels", model=Named),
    ok("fixed_length", "always computes 32 positions", model=FixedCapacity),
    ok("skips_ones", "drops an all-ones mask", model=SkipsOnes),
    ok("row_by_row", "a loop over the batch", make=lambda seed: Halves(decoder()(seed)).eval()),
    ok("function", "a function", make=as_function),
]
