"""A model after it was recorded is as it was before, whatever happened."""

import copy
import pickle
import subprocess
import sys
import threading

import pytest
import torch

from lookbehind.errors import RecordError
from lookbehind.recorder import record
from tests.tiny_models import Plain, ids, tiny


def state(model):
    from transformers.modeling_utils import AttentionInterface

    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    return AttentionInterface.get_interface, hooks, torch.overrides._len_torch_function_stack()


def vars_of(model):
    hooks = [(name, dict(held)) for m in model.modules() for name, held in vars(m).items() if "hooks" in name]
    return state(model), hooks


def test_everything_is_restored_whatever_happens():
    model = tiny("llama", "sdpa")
    before = state(model)
    with record(model):
        assert state(model) != before
    assert state(model) == before
    with pytest.raises(KeyError), record(model):
        raise KeyError
    assert state(model) == before
    with pytest.raises(IndexError), record(model) as recorder:
        model(ids(4))
        model(torch.full((1, 4), 9999))  # no such token
    assert state(model) == before
    assert recorder.tape().n_queries == 4


def test_a_copy_that_is_made_while_recording_is_not_recorded():
    model = tiny("llama", "sdpa")
    with record(model) as recorder:
        model(ids(4))
        copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        for one in copies:
            one(ids(5))
    assert recorder.tape().n_queries == 4
    for one in copies:
        assert torch.equal(one(ids(5)).logits, model(ids(5)).logits)
        with record(one) as again:
            one(ids(6))
        assert again.tape().n_queries == 6


PLACES = (
    "lookbehind/recorder.py",
    "taps/stack.py",
    "taps/function.py",
    "taps/interface.py",
    "torch/nn/modules/module.py",
)


def interrupted(act, line):
    """Call `act`, and Ctrl-C at the line of that number in PLACES; whether it came."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line" and frame.f_code.co_filename.endswith(PLACES)
        if count > line:
            sys.settrace(None)
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    try:
        sys.settrace(trace)
        act()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("leaving", [False, True])
def test_an_interrupt_on_the_way_in_or_out_leaves_nothing_on_the_model(leaving):
    model = Plain(layers=1)
    state(model)  # imports transformers
    before, line, came = vars_of(model), 1, True  # at line 0 nothing was begun
    while came:
        recorder = record(model)
        if leaving:
            recorder.__enter__()
            came = interrupted(lambda one=recorder: one.__exit__(None, None, None), line)
        else:
            came = interrupted(recorder.__enter__, line)
            if not came:
                recorder.__exit__(None, None, None)
        assert vars_of(model) == before, line
        line += 1
    assert line > 50
    with torch.no_grad():
        model(ids(4))
    with torch.no_grad(), record(model) as recorder:
        model(ids(4))
    assert recorder.tape().n_queries == 4


def test_a_forward_that_fails_leaves_nothing_behind():
    model, prompt = Plain(), ids(5)
    with torch.no_grad(), record(model) as recorder:
        cache = {}
        model(prompt, cache)
        handle = model.head.register_forward_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model(prompt, {})
        handle.remove()
        model(prompt[:, :1], cache)
    assert [tape.steps for tape in recorder.tapes()] == [[5, 1]]


def test_nested_recordings():
    model, other = Plain(), tiny("llama", "sdpa")
    with torch.no_grad(), record(model) as one, record(other) as two:
        with pytest.raises(RecordError, match="Plain is being recorded already"), record(model):
            pass
        with pytest.raises(RecordError, match="Block is being recorded already"), record(model.blocks[0]):
            pass
        model(ids(4))
        other(ids(5))
        with pytest.raises(RecordError, match="a recorder records once"):
            one.__enter__()
    assert (one.tape().n_queries, two.tape().n_queries) == (4, 5)
    assert state(other)[2] == 0


def test_a_call_from_another_thread_is_refused():
    model, told = Plain(), []

    def run():
        try:
            model(ids(4))
        except RecordError as error:
            told.append(str(error))

    with record(model):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert "another thread than the one that began recording" in told[0]


def test_transformers_is_not_imported():
    code = (
        "import sys, torch, lookbehind.recorder as r\n"
        "assert 'transformers' not in sys.modules\n"
        "from torch import nn\n"
        "class M(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True)\n"
        "m = M()\n"
        "with r.record(m) as recorder: m(torch.randn(1, 2, 5, 8))\n"
        "assert recorder.tape().n_queries == 5\n"
        "assert 'transformers' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
