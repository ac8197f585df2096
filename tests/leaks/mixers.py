"""Convolutions, scans and other ways to mix positions, that mix too many."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.leaks.case import Case
from tests.leaks.decoder import MLP, Embedding, Plain, decoder

M0, M1 = "blocks.0.mixer", "blocks.1.mixer"


class Conv(nn.Module):
    """A causal depthwise convolution. `pad` and `trim` are the places to cheat."""

    kernel, dilation, groups = 3, 1, True

    def __init__(self, config, layer):
        super().__init__()
        d = config.hidden_size
        self.conv = nn.Conv1d(d, d, self.kernel, groups=d if self.groups else 1, dilation=self.dilation)
        self.out = nn.Linear(d, d)

    @property
    def reach(self):
        return self.dilation * (self.kernel - 1)

    def pad(self, x):
        return F.pad(x, (self.reach, 0))

    def forward(self, x, view):
        return self.out(F.silu(self.conv(self.pad(x.transpose(1, 2))).transpose(1, 2)))


class SymmetricConv(Conv):
    def pad(self, x):
        return F.pad(x, (self.reach // 2, self.reach // 2))


class WrongTrim(Conv):
    """Padded on both sides by k - 1 and trimmed at the front instead of the end."""

    def pad(self, x):
        return F.pad(x, (0, self.reach))


class WrongDilation(Conv):
    """Padded by k - 1 where dilation * (k - 1) was due, the rest at the end."""

    dilation = 2

    def pad(self, x):
        return F.pad(x, (self.kernel - 1, self.reach - self.kernel + 1))


class CircularConv(Conv):
    def pad(self, x):
        return (
            torch.cat((x[..., -1:], x[..., : x.shape[-1]]), -1)
            if self.kernel == 2
            else F.pad(x, (self.reach, 0), mode="circular")
        )


class FourierConv(nn.Module):
    """A long convolution by FFT, zero-padded so that it does not wrap."""

    pads = True

    def __init__(self, config, layer):
        super().__init__()
        self.filter = nn.Parameter(torch.empty(config.hidden_size, 48))
        self.out = nn.Linear(config.hidden_size, config.hidden_size)

    def wide(self, x):
        return x if x.dtype == torch.float64 else x.float()

    def forward(self, x, view):
        n = x.shape[1]
        size = 2 * n if self.pads else n
        h = self.wide(self.filter)[:, :n]
        y = torch.fft.irfft(
            torch.fft.rfft(self.wide(x).transpose(1, 2), size) * torch.fft.rfft(h, size), size
        )
        return self.out(y[..., :n].transpose(1, 2).to(x.dtype))


class WrappedFourier(FourierConv):
    pads = False


class Scan(nn.Module):
    """A selective scan (Mamba's recurrence, one state per channel)."""

    def __init__(self, config, layer):
        super().__init__()
        d = config.hidden_size
        self.config, self.layer = config, layer
        self.decay, self.into, self.gate, self.out = (nn.Linear(d, d) for _ in range(4))

    def forward(self, x, view):
        a, u = torch.sigmoid(self.decay(x)), self.into(x)
        return self.out(self.scan(a, u, view) * F.silu(self.gate(x)))

    def scan(self, a, u, view):
        state, states = torch.zeros_like(u[:, 0]), []
        for t in range(u.shape[1]):
            state = a[:, t] * state + u[:, t]
            states.append(state)
        return torch.stack(states, 1)


class ChunkedScan(Scan):
    """In chunks: a scan within each, and the state carried over."""

    def carry(self, ends):
        """What each chunk starts with, from the state at each chunk's end."""
        return [torch.zeros_like(ends[0]), *ends[:-1]]

    def scan(self, a, u, view):
        size = self.config.chunk_size
        ends, state = [], torch.zeros_like(u[:, 0])
        for start in range(0, u.shape[1], size):
            for t in range(start, min(start + size, u.shape[1])):
                state = a[:, t] * state + u[:, t]
            ends.append(state)
        states = []
        for start, state in zip(range(0, u.shape[1], size), self.carry(ends), strict=True):
            for t in range(start, min(start + size, u.shape[1])):
                state = a[:, t] * state + u[:, t]
                states.append(state)
        return torch.stack(states, 1)


class LateCarry(ChunkedScan):
    """Every chunk but the first starts with the state at its own end."""

    def carry(self, ends):
        return [torch.zeros_like(ends[0]), *ends[1:]]


class ReversedScan(Scan):
    def scan(self, a, u, view):
        return super().scan(a.flip(1), u.flip(1), view).flip(1)


class WrappedScan(Scan):
    """Hillis-Steele with roll: the end comes round to the beginning."""

    def scan(self, a, u, view):
        step = 1
        while step < u.shape[1]:
            u = u + a * u.roll(step, 1)
            a = a * a.roll(step, 1)
            step *= 2
        return u


class LinearAttention(nn.Module):
    """Linear attention: cumulative sums of k v and of k."""

    def __init__(self, config, layer):
        super().__init__()
        d = config.hidden_size
        self.q, self.k, self.v, self.out = (nn.Linear(d, d) for _ in range(4))

    def total(self, k):
        return k.cumsum(1)

    def forward(self, x, view):
        q, k, v = F.elu(self.q(x)) + 1, F.elu(self.k(x)) + 1, self.v(x)
        top = (q[..., None, :] @ (k[..., None] * v[..., None, :]).cumsum(1))[..., 0, :]
        return self.out(top / (q * self.total(k)).sum(-1, keepdim=True))


class WholeNormalizer(LinearAttention):
    def total(self, k):
        return k.sum(1, keepdim=True)


class Recurrent(nn.Module):
    """torch's own GRU; two-sided where `both`."""

    both = False

    def __init__(self, config, layer):
        super().__init__()
        d = config.hidden_size
        self.rnn = nn.GRU(d, d // 2 if self.both else d, batch_first=True, bidirectional=self.both)

    def forward(self, x, view):
        return self.rnn(x)[0]


class TwoSidedRecurrent(Recurrent):
    both = True


class Shift(nn.Module):
    """RWKV's token shift: part of the width comes from the previous position."""

    def __init__(self, config, layer):
        super().__init__()
        self.mix = nn.Linear(2 * config.hidden_size, config.hidden_size)

    def shifted(self, x, view):
        return F.pad(x, (0, 0, 1, 0))[:, :-1]

    def forward(self, x, view):
        return self.mix(torch.cat((x, self.shifted(x, view)), -1))


class ShiftAhead(Shift):
    def shifted(self, x, view):
        return F.pad(x, (0, 0, 0, 1))[:, 1:]


class ShiftRolled(Shift):
    """torch.roll: the last position comes round to the first."""

    def shifted(self, x, view):
        return x.roll(1, 1)


class SpatialGate(nn.Module):
    """gMLP: a learned n x n matrix over positions, lower triangular where `causal`."""

    causal = True

    def __init__(self, config, layer):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(64, 64))
        self.out = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x, view):
        weight = self.weight[: x.shape[1], : x.shape[1]]
        return self.out(x * ((weight.tril() if self.causal else weight) @ x))


class OpenGate(SpatialGate):
    causal = False


class Fourier(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.out = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x, view):
        wide = x if x.dtype == torch.float64 else x.float()
        return self.out(torch.fft.fft2(wide, norm="ortho").real.to(x.dtype))


class Hourglass(nn.Module):
    """Pairs are averaged, mixed, and spread out; the first reads the second. `even` is what is paired."""

    def __init__(self, config, layer):
        super().__init__()
        self.coarse = nn.Linear(config.hidden_size, config.hidden_size)

    def even(self, x):
        return F.pad(x, (0, 0, 0, x.shape[1] % 2))

    def forward(self, x, view):
        n = x.shape[1]
        pairs = self.even(x).unflatten(1, (-1, 2)).mean(2)
        return self.coarse(pairs).repeat_interleave(2, 1)[:, :n]


class PaddedHourglass(Hourglass):
    """Shifted first, so that none reads its successor; but an odd last pair is filled up with zeros."""

    def even(self, x):
        return super().even(F.pad(x, (0, 0, 1, 0))[:, :-1])


class AllHalted(MLP):
    """Refines every position until none wants more: one hard position makes the others go on."""

    def forward(self, x):
        y = super().forward(x)
        for _ in range(3):
            going = y.abs().amax((1, 2), keepdim=True) > 1.5
            y = torch.where(going, 0.7 * y + 0.1 * x, y)
        return y


_BOARD = {}


class SideChannel(MLP):
    """Layer 0 leaves a summary behind, as a hypernetwork or a global register does; layer 1 picks it up."""

    def forward(self, x):
        if "summary" in _BOARD:
            return super().forward(x + 0.1 * _BOARD.pop("summary"))
        _BOARD["summary"] = x.mean(1, keepdim=True)
        return super().forward(x)


class NextBigram(Embedding):
    """A hashed bigram embedding of (i, i + 1) in place of (i - 1, i)."""

    def forward(self, input_ids, positions):
        bigram = (input_ids * 7 + F.pad(input_ids, (0, 1))[:, 1:]) % self.tokens.num_embeddings
        return super().forward(input_ids, positions) + 0.5 * self.tokens(bigram)


class PadCounter(Embedding):
    """Positions are moved back by the number of tokens 0, taken for padding wherever they are."""

    def forward(self, input_ids, positions):
        return super().forward(input_ids, (positions - (input_ids == 0).sum(1, keepdim=True)).clamp(min=0))


class Counted(Embedding):
    """Divided by how often the token occurs: in the whole text, not so far."""

    def forward(self, input_ids, positions):
        often = (input_ids[:, :, None] == input_ids[:, None]).sum(-1, keepdim=True)
        return super().forward(input_ids, positions) / often


class FromLast(Embedding):
    """Documents numbered from the last back: every token knows how many ends of documents are to come."""

    def __init__(self, config):
        super().__init__(config)
        self.end = config.eos_token_id

    def forward(self, input_ids, positions):
        ahead = (input_ids == self.end).flip(1).cumsum(1).flip(1)
        return super().forward(input_ids, positions) * (1 + ahead[..., None])


class FoundAnywhere(Embedding):
    """A task token (9) anywhere in the text turns its embedding on for all positions."""

    def forward(self, input_ids, positions):
        found = (input_ids == 9).any(1).to(self.tokens.weight.dtype)[:, None, None]
        return super().forward(input_ids, positions) + found * self.tokens.weight[9]


class ShiftedLogits(Plain):
    """Logits already shifted for the loss: row i is the prediction of i + 1's successor."""

    def forward(self, input_ids):
        logits = super().forward(input_ids)
        return torch.cat((logits[:, 1:], logits[:, -1:]), 1)


class FromTheEnd(Plain):
    """Positions are counted from the end, as with left padding to a fixed length."""

    def positions(self, slots, mask):
        return slots.flip(0)[None]


class EvenLength(Plain):
    """Odd lengths are padded in front by a token, for a kernel that wants even ones."""

    def forward(self, input_ids):
        odd = input_ids.shape[1] % 2
        return super().forward(F.pad(input_ids, (odd, 0)))[:, odd:]


def _mix(name, culprit, note, rule="LB101", also=(), options=None, **given):
    return Case(name, decoder(**given), rule, culprit, options or {}, note, also)


CASES = [
    _mix("symmetric_conv", M0, "Conv1d(padding=k // 2)", mixer={0: SymmetricConv}),
    _mix("wrong_trim", M0, "padding=k - 1, then [..., k - 1:] instead of [..., :n]", mixer={0: WrongTrim}),
    _mix("wrong_dilation", M1, "padding forgets the dilation", mixer={1: WrongDilation}),
    _mix("circular_conv", M0, "padding_mode='circular'", mixer={0: CircularConv}),
    _mix(
        "wrapped_fft",
        M0,
        "a long convolution by FFT without zero padding (S4, Hyena)",
        mixer={0: WrappedFourier},
    ),
    _mix("bidirectional_rnn", M1, "nn.GRU(bidirectional=True)", mixer={1: TwoSidedRecurrent}),
    _mix("reversed_scan", M1, "a scan run backwards, as one of Vim's two", mixer={1: ReversedScan}),
    _mix(
        "late_carry",
        M1,
        "the carried state is that of the chunk's own end",
        mixer={1: LateCarry},
        chunk_size=6,
        options={"length": 16},
    ),
    _mix(
        "late_carry_auto",
        M1,
        "the same; only past chunk_size, which is for the audit to find",
        mixer={1: LateCarry},
        chunk_size=26,
    ),
    _mix("wrapped_scan", M0, "a parallel scan that rolls", mixer={0: WrappedScan}),
    _mix(
        "whole_normalizer",
        M0,
        "linear attention divided by the sum over all keys",
        mixer={0: WholeNormalizer},
    ),
    _mix("shift_ahead", M1, "token shift in the wrong direction", mixer={1: ShiftAhead}),
    _mix("rolled_shift", M0, "torch.roll: only the pair (0, n - 1) to begin with", mixer={0: ShiftRolled}),
    _mix("open_spatial_gate", M0, "gMLP's spatial gate without its triangle", mixer={0: OpenGate}),
    _mix("fourier_mixing", M0, "FNet", mixer={0: Fourier}),
    _mix(
        "hourglass",
        M1,
        "pooling and spreading again without the shift (Hourglass, MegaByte)",
        mixer={1: Hourglass},
    ),
    _mix(
        "halting",
        "blocks.0.mlp",
        "adaptive computation that goes on until all positions halt",
        mlp={0: AllHalted},
    ),
    _mix(
        "side_channel",
        "blocks.1.mlp",
        "a summary left on the side by one layer, read by another",
        mlp=SideChannel,
    ),
    _mix(
        "next_bigram",
        "embed",
        "n-gram embeddings one place too far; multi-token heads' next-token input",
        embed=NextBigram,
    ),
    _mix(
        "pad_counter",
        "embed",
        "padding told by token id, wherever it is",
        embed=PadCounter,
        positions="learned",
    ),
    _mix(
        "named_pad_counter",
        "embed",
        "the same, where the config names the padding, which is then no ordinary token",
        embed=PadCounter,
        positions="learned",
        pad_token_id=0,
    ),
    _mix(
        "counted",
        "embed",
        "frequencies from the whole text, in a vocabulary where random tokens meet no copies",
        embed=Counted,
        vocab_size=8000,
    ),
    _mix(
        "from_last",
        "embed",
        "documents told apart by their ends, numbered from the last",
        embed=FromLast,
        eos_token_id=2,
    ),
    _mix(
        "found_anywhere",
        "embed",
        "one token id of 31 switches a task on for the whole text",
        embed=FoundAnywhere,
    ),
    _mix("shifted_logits", None, "logits returned already shifted", model=ShiftedLogits),
    _mix(
        "padded_hourglass",
        "blocks.1.mixer",
        "a last odd position is pooled with padding instead of with what the shift left over",
        rule="LB102",
        mixer={1: PaddedHourglass},
    ),
    _mix(
        "positions_from_end",
        None,
        "positions counted from the end",
        rule="LB102",
        model=FromTheEnd,
        positions="learned",
    ),
    _mix("padded_to_even", None, "a length rounded up in front, unmasked", rule="LB102", model=EvenLength),
]
