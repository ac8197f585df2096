"""The stack knows which module runs, and recovers from whatever a forward does."""

import pytest
import torch
from torch import nn

from lookbehind.taps.stack import ModuleStack


class Inner(nn.Module):
    def forward(self, x, act):
        return act(x)


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()
        self.linear = nn.Linear(2, 2)

    def forward(self, x, act, caught=False):
        if not caught:
            return self.linear(self.inner(x, act=act))
        try:
            self.inner(x, act=act)
        except ZeroDivisionError:
            return self.inner(x, act=lambda y: y)


@pytest.fixture
def told():
    model, log = Outer(), []
    stack = ModuleStack(
        model,
        lambda frame: log.append(f"begin {frame.name}"),
        lambda frame: log.append(f"enter {frame.name}"),
        lambda frame, output: log.append("end"),
        lambda: log.append("drop"),
    )
    return model, stack, log


def test_frames_are_pushed_and_popped(told):
    model, stack, log = told
    x = torch.zeros(1, 2)
    with stack:
        model(x, lambda y: log.append([frame.name for frame in stack.frames]) or y)
        assert stack.top is None
    assert log == ["begin Outer", "enter Outer", "enter inner", ["Outer", "inner"], "end"]
    model(x, lambda y: y)
    assert len(log) == 5
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_an_exception_drops_the_forward_unless_the_model_caught_it(told):
    model, stack, log = told
    with stack:
        with pytest.raises(ZeroDivisionError):
            model(torch.zeros(1, 2), lambda y: 1 / 0)
        assert log[-1] == "drop" and not stack.frames
        model(torch.zeros(1, 2), lambda y: 1 / 0, caught=True)
        assert log[-1] == "end" and not stack.frames


def interrupt(y):
    raise KeyboardInterrupt


def test_an_interrupt_is_noticed_at_the_next_forward(told):
    model, stack, log = told
    with stack:
        with pytest.raises(KeyboardInterrupt):
            model(torch.zeros(1, 2), interrupt)
        assert len(stack.frames) == 2  # no hook was called
        model(torch.zeros(1, 2), lambda y: y)
        assert log[-5:] == ["drop", "begin Outer", "enter Outer", "enter inner", "end"]


def test_after_an_interrupt_a_part_of_the_model_may_run_alone(told):
    model, stack, log = told
    with stack:
        with pytest.raises(KeyboardInterrupt):
            model(torch.zeros(1, 2), interrupt)
        model.inner(torch.zeros(1, 2), lambda y: y)
        assert log[-4:] == ["drop", "begin inner", "enter inner", "end"]


def test_a_module_may_run_within_itself(told):
    model, stack, log = told
    x = torch.zeros(1, 2)
    with stack:
        model(x, lambda y: model(y, lambda z: z))
    assert log[:1] + log[-1:] == ["begin Outer", "end"] and log.count("enter Outer") == 2
    assert "drop" not in log


def test_a_hook_that_is_left_behind_does_nothing(told):
    model, stack, log = told
    stack.__enter__()
    stack.active = False
    model(torch.zeros(1, 2), lambda y: y)
    assert log == [] and not stack.frames
    stack.__exit__(None, None, None)
    stack.__exit__(None, None, None)
    assert not any(hooks for m in model.modules() for name, hooks in vars(m).items() if "_hooks" in name)


def test_a_mask_is_read_once_per_forward(told):
    model, stack, log = told
    mask, q = torch.ones(2, 2), torch.zeros(1, 1, 2, 4)

    def act(y):
        for _ in range(3):
            stack.once(mask, q, q, lambda: log.append("read"))
        mask[0, 0] = 0
        stack.once(mask, q, q, lambda: log.append("read again"))
        return y

    with stack:
        model(torch.zeros(1, 2), act)
    assert [line for line in log if line.startswith("read")] == ["read", "read again"]
