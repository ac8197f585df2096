import random

import numpy as np
import pytest
import torch
from torch import nn

from lookbehind.auditor import state
from lookbehind.auditor.state import few_threads, preserved
from tests.auditor.models import honest


def test_everything_is_as_before_whatever_happens():
    model = honest()
    model.train()
    model.blocks[0].eval()
    model.register_buffer("table", torch.zeros(3))
    model.counts = {"calls": 1}
    model.kept = [1, 2]
    parameter = next(model.parameters())
    parameter.requires_grad_(False)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    config = dict(vars(model.config))
    flags = [part.training for part in model.modules()]
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    expected = torch.rand(1).item(), random.random(), np.random.rand()
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    with pytest.raises(KeyError), preserved(model):
        assert not any(part.training for part in model.modules())
        torch.rand(9), random.random(), np.random.rand()
        model.table += 1
        model.head = nn.Linear(2, 2)
        model.counts["calls"] += 1
        model.kept.append(3)
        model.new = 1
        model.config.sliding_window = 99
        model.blocks[0].register_forward_hook(lambda *given: None)
        parameter.requires_grad_(True)
        parameter.data = parameter.data.double()
        model.blocks[1].mixer.q.weight.data.zero_()
        torch.set_default_dtype(torch.float64)
        raise KeyError
    assert [part.training for part in model.modules()] == flags
    assert {name: value.dtype for name, value in model.state_dict().items()} == {
        name: value.dtype for name, value in weights.items()
    }
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert (model.counts, model.kept, hasattr(model, "new")) == ({"calls": 1}, [1, 2], False)
    assert dict(vars(model.config)) == config
    assert not model.blocks[0]._forward_hooks
    assert not parameter.requires_grad
    assert torch.get_default_dtype() == torch.float32
    assert (torch.rand(1).item(), random.random(), np.random.rand()) == expected


def test_a_light_model_gets_one_thread_for_a_while(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with few_threads(torch.relu):
            assert torch.get_num_threads() == 2
        with few_threads(honest()):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        monkeypatch.setattr(state, "LIGHT", 10)
        with few_threads(honest()):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
