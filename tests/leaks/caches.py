"""Decoding with a cache that says something else than the full forward."""

import torch
from torch.nn import functional as F

from tests.leaks.case import Case
from tests.leaks.decoder import Attention, Cache, Cached, Decoder, Plain, decoder, rotate
from tests.leaks.mixers import Conv, Scan, Shift

STEP, CHUNK, ROLLBACK = "LB201", "LB202", "LB204"


class FromZero(Cached):
    """Positions start at 0 in every call."""

    def positions(self, slots, mask):
        return torch.arange(len(slots))[None]


class OneBehind(Cached):
    """With a cache, positions start one too early."""

    def positions(self, slots, mask):
        return (slots - (slots[0] > 0).long())[None]


class StepAtLength(Cached):
    """Every position of a later call is the last one: right for one token, wrong for a chunk."""

    def positions(self, slots, mask):
        return slots[None] if slots[0] == 0 else slots[-1].expand(1, len(slots))


class TwiceRotated(Attention):
    """Keys that come from the cache are rotated again."""

    def keep(self, k, v, view):
        k, v, slots, places = super().keep(k, v, view)
        past = len(slots) - len(view.slots)
        k = torch.cat((rotate(k[:, :, :past], places[:, :past]), k[:, :, past:]), 2)
        return k, v, slots, places


class TopLeft(Attention):
    """is_causal with more keys than queries: PyTorch aligns top-left."""

    def reach(self, i, j):
        return j - j.min() <= i - i.min()


class TopLeftChunk(Attention):
    """The same, but single tokens take a path without a mask."""

    def reach(self, i, j):
        return j <= i if len(i) == 1 else j - j.min() <= i - i.min()


class UnmaskedChunk(Attention):
    """No mask as soon as there is a cache: right for one token, but a chunk's tokens see one another."""

    def reach(self, i, j):
        return j <= i if i[0, 0] == 0 else j <= i.max()


class CachedAlibi(Attention):
    """ALiBi's distances computed within the call."""

    def scores(self, q, k, view, slots):
        if view.slots[0] == 0:
            return super().scores(q, k, view, slots)
        slopes = 2.0 ** -torch.arange(1, self.heads + 1, dtype=q.dtype)
        raw = q @ k.transpose(-1, -2) * self.width**-0.5
        away = (slots[None, :] - torch.arange(len(view.slots))[:, None]).abs().to(q.dtype)
        return raw - slopes[:, None, None] * away


class NewScale(Attention):
    """The decoding kernel has another scale."""

    def scores(self, q, k, view, slots):
        scores = super().scores(q, k, view, slots)
        return scores * 1.01 if len(view.slots) == 1 and view.slots[0] > 0 else scores


class Rolling(Cache):
    """Keeps the last `size` keys of a layer."""

    size = 4

    def keep(self, layer, k, v, slots, places):
        kept = super().keep(layer, k, v, slots, places)
        self.layers[layer] = self.evict(kept)
        return kept

    def evict(self, kept):
        k, v, slots, places = kept
        return k[:, :, -self.size :], v[:, :, -self.size :], slots[-self.size :], places[:, -self.size :]


class EarlyEviction(Rolling):
    """A window of 4 needs the last 3 keys besides one's own; this keeps 2."""

    size = 2


class KeepsFirst(Rolling):
    """A prompt longer than the window leaves its first keys in the cache, not its last."""

    def evict(self, kept):
        if len(kept[2]) > 6:
            k, v, slots, places = kept
            return k[:, :, : self.size], v[:, :, : self.size], slots[-self.size :], places[:, : self.size]
        return super().evict(kept)


class EvictsFirst(Rolling):
    """Evicts before the call has read: the first queries of a chunk miss the keys they need."""

    def keep(self, layer, k, v, slots, places):
        self.size = max(4, len(slots))
        return self.evict(super().keep(layer, k, v, slots, places))


class RollingModel(Cached):
    cache = Rolling


class EarlyModel(Cached):
    cache = EarlyEviction


class FirstKeysModel(Cached):
    cache = KeepsFirst


class EvictsFirstModel(Cached):
    cache = EvictsFirst


class Fixed(Cache):
    """A preallocated buffer of 40 slots that is never cleared: `stale` leaves what was there before."""

    def keep(self, layer, k, v, slots, places):
        k, v, slots, places = super().keep(layer, k, v, slots, places)
        room = 40 - k.shape[2]
        k, v = (F.pad(t, (0, 0, 0, room)) for t in (k, v))
        return k, v, torch.arange(40), F.pad(places, (0, room))


class FixedModel(Cached):
    cache = Fixed


class WholeBuffer(Attention):
    """A decoding step reads the whole buffer, its empty slots included."""

    def reach(self, i, j):
        return j <= i if len(i) > 1 or j.shape[-1] == 1 else (j <= i) | (j == j)


class NoWindowInPrefill(Attention):
    """With a cache the first call forgets the window (an early Mistral)."""

    def forward(self, x, view):
        self.cached = view.cache is not None
        return super().forward(x, view)

    def reach(self, i, j):
        return j <= i if self.cached and i[0, 0] == 0 and i.shape[0] > 1 else super().reach(i, j)


class AheadWhenCaching(Attention):
    """The mask of a call that makes a cache is built by other code, and shifted by one."""

    def forward(self, x, view):
        self.ahead = int(view.cache is not None and self.makes(view.slots))
        return super().forward(x, view)

    def makes(self, slots):
        return int(slots[0]) == 0

    def reach(self, i, j):
        return j <= i + self.ahead


class AheadWhenCachingMuch(AheadWhenCaching):
    """The same from 16 tokens on, as a kernel is chosen by the length."""

    def makes(self, slots):
        return super().makes(slots) and len(slots) >= 16


class Making(Plain):
    """Makes a cache where it is asked to, and takes none."""

    def forward(self, input_ids, use_cache=False):
        return self.run(input_ids, use_cache=use_cache)


class CachedConv(Conv):
    """A causal convolution that keeps its last inputs. `kept` and `before` are the places to cheat."""

    def kept(self, wide):
        return wide[..., -self.reach :]

    def before(self, view, x):
        return view.cache.state.get(self, x.new_zeros(*x.shape[:2], self.reach))

    def forward(self, x, view):
        if view.cache is None:
            return super().forward(x, view)
        x = x.transpose(1, 2)
        wide = torch.cat((self.before(view, x), x), -1)
        view.cache.state[self] = self.kept(wide)
        return self.out(F.silu(self.conv(wide).transpose(1, 2)))


class ConvOffByOne(CachedConv):
    def kept(self, wide):
        return F.pad(wide, (1, 0))[..., -self.reach - 1 : -1]


class ConvChunkForgets(CachedConv):
    """More than one token is taken for a prompt: the state is not read (Mamba's prefill path)."""

    def before(self, view, x):
        return super().before(view, x) if x.shape[-1] == 1 else x.new_zeros(*x.shape[:2], self.reach)


class CachedScan(Scan):
    def scan(self, a, u, view):
        state = self.before(view, u)
        states = []
        for t in range(u.shape[1]):
            state = a[:, t] * state + u[:, t]
            states.append(state)
        if view.cache is not None:
            view.cache.state[self] = self.kept(states)
        return torch.stack(states, 1)

    def before(self, view, u):
        zero = torch.zeros_like(u[:, 0])
        return zero if view.cache is None else view.cache.state.get(self, zero)

    def kept(self, states):
        return states[-1]


class ScanChunkForgets(CachedScan):
    def before(self, view, u):
        return super().before(view, u) if u.shape[1] == 1 else torch.zeros_like(u[:, 0])


class ScanFirstState(CachedScan):
    """The state kept after a call is the one before its last token."""

    def kept(self, states):
        return states[-2] if len(states) > 2 else states[-1]


class CachedShift(Shift):
    def shifted(self, x, view):
        if view.cache is None:
            return super().shifted(x, view)
        last = view.cache.state.get(self, torch.zeros_like(x[:, :1]))
        view.cache.state[self] = x[:, -1:]
        return torch.cat((last, x), 1)[:, :-1]


class ForgetfulShift(CachedShift):
    def shifted(self, x, view):
        return F.pad(x, (0, 0, 1, 0))[:, :-1]


class SharedLayers(Cache):
    """Layer 1 reads layer 0's keys of earlier calls (an index that starts at the wrong layer)."""

    def keep(self, layer, k, v, slots, places):
        kept = super().keep(layer, k, v, slots, places)
        if layer == 1 and len(slots) < len(kept[2]):
            old = self.layers[0]
            past = len(kept[2]) - len(slots)
            k = torch.cat((old[0][:, :, :past], kept[0][:, :, past:]), 2)
            return k, *kept[1:]
        return kept


class SharedModel(Cached):
    cache = SharedLayers


class Cropped(Cache):
    """The last tokens can be taken back: `crop(-m)` takes m of them, as in transformers."""

    def crop(self, count):
        self.length += count
        self.layers = {layer: self.cut(kept, count) for layer, kept in self.layers.items()}

    def cut(self, kept, count):
        k, v, slots, places = kept
        return k[:, :, :count], v[:, :, :count], slots[:count], places[:, :count]


class CroppedModel(Cached):
    cache = Cropped


class OneLeft(Cropped):
    """One rejected key too many is kept."""

    def cut(self, kept, count):
        return super().cut(kept, count + 1) if count < -1 else kept


class OneLeftModel(Cached):
    cache = OneLeft


class RunsOn(Cropped):
    """Keys are taken back, and the count of tokens, which positions are made of, is not."""

    def crop(self, count):
        super().crop(count)
        self.length -= count


class RunsOnModel(Cached):
    cache = RunsOn


class CroppedRolling(Cropped, Rolling):
    """A window that has dropped what is needed again once a draft is taken back."""


class CroppedRollingModel(Cached):
    cache = CroppedRolling


class SpareModel(Cached):
    """The same with three keys to spare, and longer drafts."""

    class cache(CroppedRolling):  # noqa: N801
        size = 6


class Highest(Cropped):
    """A preallocated buffer, read up to the highest slot that was ever written."""

    def __init__(self):
        super().__init__()
        self.buffers, self.top = {}, 0

    def keep(self, layer, k, v, slots, places):
        if layer not in self.buffers:
            room = (*k.shape[:2], 64, k.shape[3])
            self.buffers[layer] = (k.new_zeros(room), v.new_zeros(room), places.new_zeros(len(places), 64))
        keys, values, at = self.buffers[layer]
        keys[:, :, slots], values[:, :, slots], at[:, slots] = k, v, places
        self.top = top = max(self.top, int(slots[-1]) + 1)
        return keys[:, :, :top], values[:, :, :top], torch.arange(top), at[:, :top]


class HighestModel(Cached):
    cache = Highest


class AllForOne(Attention):
    """A single token reads all that it is handed, as a kernel for decoding does."""

    def reach(self, i, j):
        return super().reach(i, j) if len(i) > 1 else j == j


class OneBack(Cropped):
    """The state after the first token of the last call is taken up again, however many were accepted."""

    def crop(self, count):
        super().crop(count)
        self.state = {mixer: mixer.states[0] for mixer in self.state}


class OneBackModel(Cached):
    cache = OneBack


class KeptScan(CachedScan):
    def kept(self, states):
        self.states = states
        return super().kept(states)


class MaskOfTheCall(Decoder):
    """A mask of the new tokens only is taken for one of all tokens: positions start over."""

    def positions(self, slots, mask):
        return super().positions(slots, mask) if mask is not None else torch.arange(len(slots))[None]


def _cache(name, note, rule=STEP, **given):
    given.setdefault("model", Cached)
    culprit, options = given.pop("culprit", None), given.pop("options", {})
    return Case(name, decoder(**given), rule, culprit, options, note)


WINDOW = {"sliding_window": 4}

CASES = [
    _cache("rope_from_zero", "RoPE positions start at 0 in every step", model=FromZero),
    _cache(
        "learned_from_zero", "learned positions start at 0 in every step", model=FromZero, positions="learned"
    ),
    _cache("one_behind", "off by one once a cache exists", model=OneBehind, positions="learned"),
    _cache("position_of_last", "one position for all tokens of a chunk", CHUNK, model=StepAtLength),
    _cache("rotated_twice", "cached keys are rotated again", mixer={0: TwiceRotated}),
    _cache("top_left", "is_causal is top-left where keys outnumber queries", mixer=TopLeft),
    _cache("top_left_chunk", "the same, hidden by a path for single tokens", CHUNK, mixer=TopLeftChunk),
    _cache(
        "unmasked_chunk",
        "no mask once there is a cache (speculative decoding, chunked prefill)",
        CHUNK,
        mixer={1: UnmaskedChunk},
    ),
    _cache("alibi_in_call", "ALiBi distances within the call", mixer=CachedAlibi, positions="alibi"),
    _cache("decoding_scale", "another scale, 1% off, in the decoding kernel", mixer={1: NewScale}),
    _cache("early_eviction", "a rolling cache one key too small", model=EarlyModel, **WINDOW),
    _cache(
        "keeps_first",
        "a prompt longer than the window keeps its first keys",
        CHUNK,
        model=FirstKeysModel,
        **WINDOW,
    ),
    _cache(
        "evicts_before_reading",
        "a rolling cache evicts before a chunk has read",
        CHUNK,
        model=EvictsFirstModel,
        **WINDOW,
    ),
    _cache(
        "whole_buffer",
        "a step reads the empty slots of a preallocated cache",
        model=FixedModel,
        mixer=WholeBuffer,
    ),
    _cache(
        "no_window_in_prefill",
        "the first call with a cache forgets the window",
        CHUNK,
        mixer=NoWindowInPrefill,
        **WINDOW,
    ),
    _cache("ahead_when_caching", "a prompt looks ahead", CHUNK, mixer={1: AheadWhenCaching}),
    _cache("ahead_at_once", "a long prompt looks ahead", CHUNK, mixer={0: AheadWhenCachingMuch}),
    _cache(
        "ahead_untaken",
        "a call that makes a cache looks ahead, and no call takes one",
        CHUNK,
        mixer={1: AheadWhenCaching},
        model=Making,
    ),
    _cache("conv_state_behind", "a convolution's state off by one", mixer={0: ConvOffByOne}),
    _cache(
        "conv_chunk_forgets",
        "a chunk is taken for a prompt: convolution",
        CHUNK,
        mixer={0: ConvChunkForgets, 1: CachedScan},
    ),
    _cache("scan_chunk_forgets", "a chunk is taken for a prompt: scan", CHUNK, mixer={1: ScanChunkForgets}),
    _cache("scan_state_behind", "the state before the last token is kept", CHUNK, mixer={1: ScanFirstState}),
    _cache("forgetful_shift", "token shift without its state", mixer={0: ForgetfulShift}),
    _cache("layers_mixed", "a layer index off by one in the cache", model=SharedModel),
    _cache(
        "positions_without_mask", "positions from the mask only, where it is left out", model=MaskOfTheCall
    ),
    _cache("rollback_one_left", "a rejected key stays in the cache", ROLLBACK, model=OneLeftModel),
    _cache("rollback_runs_on", "positions count rejected tokens", ROLLBACK, model=RunsOnModel),
    _cache(
        "rollback_window",
        "a rolling cache is cropped although it has dropped what is then needed",
        ROLLBACK,
        model=CroppedRollingModel,
        **WINDOW,
    ),
    _cache(
        "rollback_convolution",
        "a convolution's state is no part of what is cropped",
        ROLLBACK,
        model=CroppedModel,
        mixer={0: CachedConv},
        culprit="blocks.0.mixer",
    ),
    _cache(
        "rollback_scan",
        "nor is a recurrent state",
        ROLLBACK,
        model=CroppedModel,
        mixer={1: CachedScan},
        culprit="blocks.1.mixer",
    ),
    _cache(
        "rollback_spare",
        "a rolling cache with room for shorter drafts than come",
        ROLLBACK,
        model=SpareModel,
        **WINDOW,
    ),
    _cache(
        "rollback_highest",
        "a kernel for single tokens reads a buffer up to what was rejected",
        ROLLBACK,
        model=HighestModel,
        mixer=AllForOne,
    ),
    _cache(
        "rollback_partial",
        "a recurrent state is right again only where one token was accepted",
        ROLLBACK,
        model=OneBackModel,
        mixer={1: KeptScan},
        culprit="blocks.1.mixer",
    ),
]
