"""What a case really does, measured without the audit: one function a rule, each the greatest difference.

In float64, also where a model casts to float32 within (`Wide`), so that arithmetic is not in the way.
"""

from __future__ import annotations

import copy
import inspect
import itertools
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from lookbehind import Causal

_NARROW = (torch.float32, torch.float16, torch.bfloat16)


class Wide(TorchFunctionMode):
    """Casts to narrower floats become casts to float64."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.float, torch.Tensor.half, torch.Tensor.bfloat16):
            return args[0].double()
        given = {k: torch.float64 if v in _NARROW else v for k, v in (kwargs or {}).items()}
        return func(*(torch.float64 if a in _NARROW else a for a in args), **given)


class Runner:
    """A case's model in a dtype, called with what it takes."""

    def __init__(self, case: Any, dtype: torch.dtype = torch.float64, seed: int = 0) -> None:
        model = case.make(seed)
        self.model = model.to(dtype) if isinstance(model, torch.nn.Module) else model
        self.dtype = dtype if isinstance(model, torch.nn.Module) else torch.float32
        forwards = [self.model]
        if isinstance(model, torch.nn.Module):
            forwards = [vars(kind)["forward"] for kind in type(model).__mro__ if "forward" in vars(kind)]
        self.names = set[str]()
        for forward in forwards:  # each may hand its **kwargs on to the next
            names = inspect.signature(forward).parameters
            self.names |= set(names)
            if "kwargs" not in names:
                break
        self.config = getattr(model, "config", None)

    def out(self, ids: torch.Tensor, **given: Any) -> Any:
        with torch.no_grad():
            if self.dtype != torch.float64:
                return self.model(ids, **given)
            with Wide():
                return self.model(ids, **given)

    def __call__(self, ids: torch.Tensor, **given: Any) -> torch.Tensor:
        out = self.out(ids, **given)
        out = out.logits if hasattr(out, "logits") else out[0] if isinstance(out, tuple) else out
        return out.double()


def ids(seed: int, n: int, rows: int = 1) -> torch.Tensor:
    return torch.randint(1, 31, (rows, n), generator=torch.Generator().manual_seed(100 + seed))


def worst(a: torch.Tensor, b: torch.Tensor) -> float:
    """The greatest difference, as a share of the largest output; infinite where one is not a number.

    Huge numbers, by which tokens are ruled out, are no outputs to be a share of.
    """
    if a.numel() == 0:
        return 0.0
    size = b.abs().nan_to_num(nan=0.0)
    size = torch.where(size < 1e30, size, 0.0).max()
    return ((a - b).abs().nan_to_num(nan=torch.inf).max() / (1e-30 + size)).item()


def future(run: Runner, n: int, expect: Any) -> float:
    """LB101: tokens are changed one at a time and from a cut on; what may not read them must not change."""
    reads = torch.from_numpy(expect.spans(n).mask())
    found = 0.0
    for seed in range(3):
        x = ids(seed, n)
        base = run(x)
        for j in range(1 + seed, n, 3 if n <= 16 else 11):
            for change in (slice(j, j + 1), slice(j, n)):
                y = x.clone()
                y[:, change] = (y[:, change] + 1 + ids(seed + 7, n)[:, change] % 28) % 31
                blind = ~reads[:, change].any(1)
                found = max(found, worst(run(y)[:, blind], base[:, blind]))
    return found


def length(run: Runner, n: int, expect: Any) -> float:
    """LB102: a prefix alone and as part of a text."""
    reads = torch.from_numpy(expect.spans(n).mask())
    x = ids(0, n)
    whole = run(x)
    found = 0.0
    for t in range(2, n, 1 if n <= 16 else 3):
        blind = ~reads[:t, t:].any(1)
        found = max(found, worst(run(x[:, :t])[:, blind], whole[:, :t][:, blind]))
    return found


def reach(run: Runner, n: int, expect: Any) -> float | None:
    """LB104: 1 where influence, on the first layer or on all, is not what the config declares, else 0."""
    config = run.config
    window, chunk = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    if not window and not chunk:
        return None
    i, j = torch.arange(n)[:, None], torch.arange(n)
    declared = [torch.eye(n, dtype=torch.bool)]  # what so many of the first layers reach
    kinds = (
        getattr(config, "layer_types", None) or ["sliding_attention" if window else "chunked_attention"] * 2
    )
    for kind in kinds:
        one = j <= i
        if kind == "sliding_attention":
            one = one & (j > i - window)
        elif kind == "chunked_attention":
            one = one & (j // chunk == i // chunk)
        declared.append((one.long() @ declared[-1].long()) > 0)
    first: list[torch.Tensor] = []
    hook = run.model.blocks[0].register_forward_hook(lambda block, given, output: first.append(output))
    seen = torch.zeros(2, n, n, dtype=torch.bool)
    for seed in range(2):
        x = ids(seed, n)
        base = run(x)
        for at in range(n):
            y = x.clone()
            y[:, at] = (y[:, at] + 1 + seed) % 31
            seen[1, :, at] |= (run(y) - base)[0].abs().amax(-1) > 1e-12
            seen[0, :, at] |= (first.pop() - first[0])[0].abs().amax(-1) > 1e-12
        first.clear()
    hook.remove()
    return float((seen & (j <= i) != torch.stack((declared[1], declared[-1]))).any())


def _decode(run: Runner, x: torch.Tensor, pieces: list[int], cache: Any = None) -> torch.Tensor:
    out, at = [], 0
    for size in pieces:
        step = run.out(x[:, at : at + size], past_key_values=cache, use_cache=True)
        cache, at = step.past_key_values, at + size
        out.append(step.logits.double())
    return torch.cat(out, 1)


def step(run: Runner, n: int, expect: Any) -> float | None:
    """LB201: token by token from the first."""
    if "past_key_values" not in run.names:
        return None
    x = ids(1, n)
    whole = run(x)
    return worst(_decode(run, x, [1] * n), whole)


def chunks(run: Runner, n: int, expect: Any) -> float | None:
    """LB202: uneven pieces, a long prompt, the whole at once."""
    x = ids(2, n)
    if "use_cache" not in run.names:
        return None
    whole = run(x, use_cache=False)
    if "past_key_values" not in run.names:
        return worst(run(x, use_cache=True), whole)
    plans = ([3, 2, 5, 1, n - 11], [7, n - 7], [n - 3, 1, 1, 1], [n])
    return max(worst(_decode(run, x, plan), whole) for plan in plans)


def static(run: Runner, n: int, expect: Any) -> float | None:
    """LB203: transformers' static cache, prompts shorter and longer than a window."""
    if not hasattr(run.model, "set_attn_implementation"):
        return None
    from transformers import StaticCache

    x = ids(3, n)
    whole = run(x)
    found = 0.0
    for prompt in (2, 9):
        cache = StaticCache(config=run.config, max_cache_len=n + 6)
        found = max(found, worst(_decode(run, x, [prompt, *[1] * (n - prompt)], cache), whole))
    return found


def rollback(run: Runner, n: int, expect: Any) -> float | None:
    """LB204: so many tokens accepted and so many others taken back, call after call behind a prompt."""
    if "past_key_values" not in run.names or getattr(run.model, "_is_stateful", False):
        return None
    x, other = ids(8, n), ids(9, n)
    whole, found = run(x), 0.0
    for at, plan in ((1, [(1, 2)]), (7, [(1, 2)]), (4, [(1, 6), (1, 0), (3, 2), (1, 0), (2, 1)])):
        out = run.out(x[:, :at], past_key_values=None, use_cache=True)
        cache = out.past_key_values
        if not hasattr(cache, "crop"):
            return None
        getattr(cache, "activate_past_recording", list)()
        for accepted, rejected in itertools.cycle(plan):
            stop = min(at + accepted, n)
            draft = other[:, stop : stop + rejected]
            out = run.out(torch.cat((x[:, at:stop], draft), 1), past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            if draft.shape[1]:
                cache.crop(-draft.shape[1])
            found = max(found, worst(out.logits[:, : stop - at].double(), whole[:, at:stop]))
            at = stop
            if at == n:
                break
    return found


def _padded(run: Runner, n: int, left: bool) -> float | None:
    if "attention_mask" not in run.names:
        return None
    found = 0.0
    with_positions = (False, True) if "position_ids" in run.names else (False,)
    for pads in ([0], [1], [5], [0, 3], [4, 1, 0]):
        for given in with_positions:
            rows, real = len(pads), [n - p for p in pads]
            x = ids(4, n, rows)
            mask = torch.ones(rows, n, dtype=torch.long)
            alone = []
            for row, (p, m) in enumerate(zip(pads, real, strict=True)):
                text = x[row, p:] if left else x[row, :m]
                alone.append(run(text[None])[0])
                mask[row, slice(0, p) if left else slice(m, n)] = 0
            more = {}
            if given:
                more["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
            out = run(x, attention_mask=mask, **more)
            for row, (p, m) in enumerate(zip(pads, real, strict=True)):
                found = max(found, worst(out[row, p:] if left else out[row, :m], alone[row]))
    return found


def left(run: Runner, n: int, expect: Any) -> float | None:
    """LB301."""
    return _padded(run, n, True)


def right(run: Runner, n: int, expect: Any) -> float | None:
    """LB302."""
    return _padded(run, n, False)


def neighbour(run: Runner, n: int, expect: Any) -> float:
    """LB303: a row alone, and among others."""
    x = ids(5, n, 4)
    out = run(x)
    return max(worst(run(x[row : row + 1])[0], out[row]) for row in range(4))


def packed(run: Runner, n: int, expect: Any) -> float | None:
    """LB401: three documents in a row, rows cut differently, without a mask and with one of ones."""
    if "position_ids" not in run.names:
        return None
    found = 0.0
    for cuts in ([[5, 6, n - 11]], [[5, 6, n - 11], [7, 2, n - 9]]):
        x = ids(6, n, len(cuts))
        positions = torch.stack([torch.cat([torch.arange(m) for m in row]) for row in cuts])
        for ones in (False, True) if "attention_mask" in run.names else (False,):
            more = {"attention_mask": torch.ones_like(x)} if ones else {}
            out = run(x, position_ids=positions, **more)
            for row, lengths in enumerate(cuts):
                at = 0
                for m in lengths:
                    alone = run(x[row : row + 1, at : at + m])[0]
                    found, at = max(found, worst(out[row, at : at + m], alone)), at + m
    return found


def backends(run: Runner, n: int, expect: Any) -> float | None:
    """LB501: eager and sdpa."""
    if not hasattr(run.model, "set_attn_implementation"):
        return None
    x, out = ids(7, n), []
    for name in ("eager", "sdpa"):
        other = copy.copy(run)
        other.model = copy.deepcopy(run.model)
        other.model.set_attn_implementation(name)
        out.append(other(x))
    return worst(*out)


CHECKS = {
    "LB101": future,
    "LB102": length,
    "LB104": reach,
    "LB201": step,
    "LB202": chunks,
    "LB203": static,
    "LB204": rollback,
    "LB301": left,
    "LB302": right,
    "LB303": neighbour,
    "LB401": packed,
    "LB501": backends,
}


def shows_at(case: Any) -> int:
    """A length at which the case shows, whether or not the audit is told."""
    config = getattr(case.make(0), "config", None)
    names = ("chunk_size", "block_size", "original_max_position_embeddings", "sliding_window")
    periods = [getattr(config, name, None) or 0 for name in names]
    return max(16, 2 * max(periods) if max(periods) > 20 else 0, case.options.get("length", 0))


def measure(
    case: Any, rules: Any = None, dtype: torch.dtype = torch.float64, seed: int = 0
) -> dict[str, float]:
    """The greatest difference per rule, of those that this model is open to."""
    n, expect = shows_at(case), case.options.get("expect", Causal())
    found = {}
    for rule in rules or CHECKS:
        run = Runner(case, dtype, seed)
        difference = CHECKS[rule](run, n, expect)
        if difference is not None:
            found[rule] = difference
    return found
