import torch
from torch import nn

from lookbehind.auditor.precision import steady, wide
from lookbehind.auditor.subject import Subject
from tests.auditor.models import honest


class Casts(nn.Module):
    """Casts as transformers' norms do, and keeps a tensor that is neither parameter nor buffer."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.register_buffer("scale", torch.full((8,), 1 / 3))
        self.shift = torch.full((8,), 1 / 7)
        self.seen = []

    def forward(self, ids):
        x = self.table(ids)
        self.seen.append(str(x.dtype))
        y = x.to(torch.float32).pow(2).mean(-1, keepdim=True).float()
        z = torch.zeros(8, dtype=x.dtype) + torch.softmax(x, -1, dtype=torch.float32)
        return (x * self.scale + self.shift + y + z) @ self.table.weight.T


def test_wide_runs_in_float64_and_believes_otherwise():
    model = Casts().to(torch.bfloat16)
    subject, ids = Subject(model), torch.arange(6)[None]
    kept = [(one, one.data_ptr(), one.dtype) for one in (*model.parameters(), *model.buffers())]
    shift = model.shift
    with wide(subject):
        out = model(ids)
        assert out.untyped_storage().nbytes() == 8 * out.numel(), "the numbers are float64"
        assert (out.dtype, out.element_size(), out.itemsize) == (torch.bfloat16, 2, 2), "and say otherwise"
    assert out.dtype == torch.float64
    assert model.seen[-1] == "torch.bfloat16"
    assert [(one, one.data_ptr(), one.dtype) for one in (*model.parameters(), *model.buffers())] == kept
    assert model.shift is shift
    assert torch.get_default_dtype() == torch.float32


def test_wide_rounds_whole_numbers_as_the_dtype_does():
    at = torch.arange(300)
    with wide(Subject(honest().to(torch.bfloat16))):
        for cast in (at.bfloat16(), at.to(torch.bfloat16), at.type(torch.bfloat16)):
            assert cast[257] == 256 and cast.untyped_storage().nbytes() == 8 * 300
        assert at.float()[257] == 257 and at.to(torch.int32)[257] == 257
        assert at.type() == "torch.LongTensor"


def test_wide_is_left_after_an_error():
    model = honest()
    try:
        with wide(Subject(model)):
            raise KeyError
    except KeyError:
        pass
    assert {one.dtype for one in model.parameters()} == {torch.float32}


def test_steady_sums_do_not_depend_on_the_shape():
    model = honest().to(torch.bfloat16)
    ids = torch.randint(0, 31, (1, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), steady():
        alone, beside = model(ids[:, :13]), model(ids)[:, :13]
    assert alone.dtype == torch.bfloat16
    assert (alone != beside).float().mean() < 0.01


def test_steady_gives_what_the_operators_give():
    a, b = torch.randn(4, 5), torch.randn(5, 6).half()
    with steady():
        assert (a @ b.float()).dtype == torch.float32
        assert torch.softmax(b, -1, dtype=torch.float32).dtype == torch.float32
        assert b.sum().dtype == torch.float16
        assert torch.allclose(a.sum(-1), a.double().sum(-1).float())
