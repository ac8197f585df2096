"""Record: keep what an unmodified model computes its attention from.

>>> from lookbehind.recorder import record
>>> with record(model) as recorder:                                # doctest: +SKIP
...     model.generate(**inputs, max_new_tokens=64)
>>> recorder.tape()                                                # doctest: +SKIP
<Tape: 6 layers x 8 heads, 2063 queries x 2063 keys (2000 + 63 steps), ...>

The model's own kernel computes every output, bit for bit the one that it computes unrecorded. What cannot be
recorded exactly is refused while the model runs, by a RecordError that names the module and the reason:

- models that are compiled, scripted or encoder-decoders; attention dropout; calls from another thread;
- paged caches, caches filled before recording began, caches that are rolled back (assisted generation, prompt
  lookup) or go on as a copy, caches that change a key (beam search, quantisation, and latents that are
  expanded anew at each step, as DeepSeek's are, once the sequence is so long that the same product is summed
  in another order: after a prompt of a few tokens, that is); one forward over the finished text can be;
- additive biases other than masks and ALiBi; masks that differ between heads;
- attention computed outside transformers' interface and PyTorch's `scaled_dot_product_attention`
  (GPT-J, eager Falcon, torch.nn.MultiheadAttention, FlexAttention called directly), BLOOM and MPT excepted.

Where a forward is given token ids and returns logits, the tape keeps what they said: of each row the ten
likeliest next tokens, and the loss at the one that came. `generate` asks for the last row's logits only, so
that the rows of a prompt stay unknown unless it is called with `logits_to_keep=0`.

Layers in which no softmax attention was seen (Mamba and the like) are listed in `tape.skipped`. One that
writes its softmax or its products out by hand, or has them in a compiled function, is taken for such a layer.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from lookbehind import checks
from lookbehind.engines.observation import Observation
from lookbehind.errors import InputError, RecordError
from lookbehind.tape import Layer, Tape, load
from lookbehind.tape.predictions import Predictions, joined
from lookbehind.tape.tape import join
from lookbehind.tape.writing import TapeWriter
from lookbehind.taps.batch import Batch, Step
from lookbehind.taps.call import Call
from lookbehind.taps.function import FunctionTap
from lookbehind.taps.growth import Forward
from lookbehind.taps.interface import InterfaceTap
from lookbehind.taps.logits import returned
from lookbehind.taps.stack import Frame, ModuleStack
from lookbehind.taps.statistics import joined as joined_statistics
from lookbehind.tokens import token_string, token_strings

_lock = threading.RLock()
_recorded: list[Recorder] = []


def record(
    model: torch.nn.Module, *, to: str | Path | None = None, tokenizer: Any = None, keep: str = "tape"
) -> Recorder:
    """Record every attention call of a model while the result is entered.

    Args:
        model: a decoder of transformers or plain PyTorch, unmodified; or the decoder inside a larger model.
        to: a new directory, written while the tape grows; it holds one sequence, so a batch of one. Left out,
            tapes stay in memory.
        tokenizer: anything with `decode(ids)`; gives the tape its tokens' strings.
        keep: "tape", from which everything can be computed afterwards; or "statistics", where each call is
            observed as it runs, on the model's device, and only what `Recorder.statistics` gives is kept.

    Raises:
        InputError: `model` is no module, `tokenizer` cannot decode, or `keep` is neither of the two; and, on
            entering the result, `to` is not a new directory.
        RecordError: the model cannot be recorded exactly; and, on entering, it is being recorded already.
    """
    checks.module("record", model)
    if keep not in ("tape", "statistics"):
        raise InputError(f"record: keep is 'tape' or 'statistics'; got {checks.shown(keep)}")
    if tokenizer is not None and not callable(getattr(tokenizer, "decode", None)):
        raise InputError(f"tokenizer: something with decode(ids) is needed; got {type(tokenizer).__name__}")
    if keep == "statistics" and to is not None:
        raise InputError("record: statistics are kept in memory, and `to` is for a tape; leave one out")
    return Recorder(model, None if to is None else checks.path("to", to), tokenizer, keep == "statistics")


class Recorder:
    """A context manager; what was recorded is asked of it afterwards. See `record`."""

    def __init__(
        self, model: torch.nn.Module, to: Path | None, tokenizer: Any, statistics: bool = False
    ) -> None:
        _refuse(model)
        self._statistics = statistics
        self._model, self._to, self._tokenizer = model, to, tokenizer
        self._stack = ModuleStack(model, self._begin, self._enter, self._end, self._drop)
        self._functions = FunctionTap(self._stack, self._take)
        self._interface = InterfaceTap(self._stack, self._take)
        self._batches: list[Batch] = []
        self._forward: Forward | None = None
        self._seen: set[str] = set()
        self._ran = self._ended = False
        self._writer: TapeWriter | None = None
        self._entered = False
        self._done: dict[tuple[int, int, int], Tape] = {}
        self._ids: list[torch.Tensor | None] = []
        self._candidates: set[int] = set()
        self._steps: list[int] = []

    def __enter__(self) -> Recorder:
        if self._entered or self._ran:
            raise RecordError("record: a recorder records once; call record() again")
        try:
            with _lock:
                for other in _recorded:
                    if not other._stack.names.keys().isdisjoint(self._stack.names):
                        raise RecordError(
                            f"record: {type(self._model).__name__} is being recorded already; leave that "
                            "recording first"
                        )
                _recorded.append(self)
            if self._to is not None:
                self._writer = TapeWriter(self._to, _meta(self._model))
            self._interface.__enter__()
            self._functions.__enter__()
            self._stack.__enter__()
            self._entered = True
            return self
        except BaseException:
            try:
                self._close()
            finally:
                self._close()  # once more, in case Ctrl-C cut it off
            if self._writer is not None:
                self._writer.discard()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._close()
        finally:
            self._close()  # once more, in case Ctrl-C cut it off
            self._finish(error)

    def _close(self) -> None:
        """Take off what is on, the stack's hooks first: without them no tap does anything."""
        for one in (self._stack, self._functions, self._interface):
            one.__exit__(None, None, None)
        with _lock:
            if self in _recorded:
                _recorded.remove(self)
        self._forward = None
        self._entered = False

    def _finish(self, error: BaseException | None) -> None:
        if self._writer is None:
            return
        if not self._batches:
            self._writer.discard()
            return
        tape = Tape([], *self._tokens(self._ids), self._steps, self._batches[0].meta, self._skipped())
        tape.complete = error is None
        tape.vocabulary = self._strings(self._candidates)
        self._writer.finish(tape)

    def tape(self) -> Tape:
        """The one tape recorded.

        Raises:
            RecordError: there is none, or there are several.
        """
        tapes = self.tapes()
        if len(tapes) != 1:
            raise RecordError(
                f"tape(): {len(tapes)} sequences were recorded, one per batch row of each uncached forward; "
                "use recorder.tapes()"
            )
        return tapes[0]

    def tapes(self) -> list[Tape]:
        """Every tape recorded, one per sequence: batch rows in order, forward after forward.

        Raises:
            RecordError: nothing was recorded.
        """
        if self._statistics:
            raise RecordError("tapes(): only statistics were kept; ask recorder.statistics(), or keep='tape'")
        if not self._batches:
            raise RecordError(self._nothing())
        if self._to is not None:
            if self._entered:
                raise RecordError("tapes(): a tape that is being written is read after recording has ended")
            return [load(self._to)]
        return [self._tape(batch, row) for batch in self._batches for row in range(batch.size)]

    def statistics(self) -> list[dict[str, Observation]]:
        """What `keep="statistics"` has kept: of each sequence, an observation of each layer, by its path.

        Each holds `received` [Hq, n], `visible` [n], `entropy` [Hq, n], `top_weights` and `top_keys`
        [Hq, n, 1] and `max_score` [Hq], as `Tape.observe` gives them, in host memory.

        Raises:
            RecordError: a tape was kept instead, or nothing was recorded.
        """
        if not self._statistics:
            raise RecordError(
                "statistics(): a tape was kept; ask tape().observe(), or record with keep='statistics'"
            )
        if not self._batches:
            raise RecordError(self._nothing())
        return [
            {
                name: joined_statistics(
                    [(step.rows[name].seen[row], step.rows[name].first_key) for step in batch.steps],
                    batch.length,
                )
                for name in batch.layers
            }
            for batch in self._batches
            for row in range(batch.size)
        ]

    def __repr__(self) -> str:
        state = "recording" if self._entered else "done" if self._ran else "not entered"
        sequences = sum(batch.size for batch in self._batches)
        return f"<Recorder of {type(self._model).__name__}: {state}, {sequences} sequences>"

    # -- what the taps call --------------------------------------------------------------------------------

    def _begin(self, frame: Frame) -> None:
        self._ran = True
        if not self._functions.sees:
            raise RecordError(
                f"{frame.name}: a torch function mode that was entered before this recording was left within "
                "it, and took the recording's own away; leave them in the reverse order of entering them"
            )
        self._forward = Forward(self._batches, _token_ids(frame), self._statistics)

    def _enter(self, frame: Frame) -> None:
        """Before the first attention call, the cache tells how many positions it holds."""
        forward = self._forward
        if forward is None or forward.past is not None or not forward.empty:
            return
        cache = frame.kwargs.get("past_key_values")
        length = getattr(cache, "get_seq_length", None)
        if length is not None:
            # A layer recorded alone: those before it have extended the cache already.
            numbers = (getattr(one, "layer_idx", None) for one in frame.module.modules())
            first = next((one for one in numbers if isinstance(one, int)), 0)
            try:
                forward.past = int(length(first) if first else length())
            except ValueError:  # a cache of linear-attention layers only has no length
                return
            forward.cache = id(cache)

    def _take(self, call: Call, output: torch.Tensor) -> None:
        forward = self._forward
        if forward is None:
            return
        if forward.samples(call):
            call.prove(output)
        forward.add(call)

    def _drop(self) -> None:
        self._forward = None

    def _end(self, frame: Frame, output: Any) -> None:
        forward, self._forward = self._forward, None
        self._ended = True
        if forward is None or forward.empty:
            return
        batch = forward.batch
        assert batch is not None  # its first call gave it one
        fresh = batch.length == 0
        if fresh and self._writer is not None and (self._batches or batch.size > 1):
            raise RecordError(
                f"record: {self._to} holds one sequence, and this forward begins "
                f"{batch.size if not self._batches else 'another'}; record a batch of one with the cache on, "
                "or leave out to= and save each tape of recorder.tapes()"
            )
        step = forward.commit(returned(output, frame))
        self._seen.update(name.split("#")[0] for name in step.rows)
        if fresh:
            batch.meta = _meta(self._model)
            self._batches.append(batch)
        if self._writer is not None:
            batch.steps.clear()  # the writer keeps them now
            ids = None if step.token_ids is None else step.token_ids[0]
            self._ids.append(ids)
            self._steps.append(step.n_queries)
            said = _predictions(step, 0)
            if said is not None:
                self._candidates.update(said.ids.unique().tolist())
            self._writer.append(list(_rows(batch, step, 0)), ids, said)

    # -- what was recorded ---------------------------------------------------------------------------------

    def _tape(self, batch: Batch, row: int) -> Tape:
        key = (id(batch), row, batch.n_steps)
        if key not in self._done:
            layers = list(join([list(_rows(batch, step, row)) for step in batch.steps]))
            ids = [None if step.token_ids is None else step.token_ids[row] for step in batch.steps]
            steps = [step.n_queries for step in batch.steps]
            tape = Tape(layers, *self._tokens(ids), steps, batch.meta, self._skipped())
            said = joined([(step.n_queries, _predictions(step, row)) for step in batch.steps])
            if said is not None:
                tape.predictions, tape.vocabulary = said, self._strings(set(said.ids.unique().tolist()))
            self._done[key] = tape
        return self._done[key]

    def _tokens(self, parts: list[torch.Tensor | None]) -> tuple[list[int] | None, list[str] | None]:
        known = [part for part in parts if part is not None]
        if not parts or len(known) != len(parts):
            return None, None
        ids: list[int] = torch.cat(known).tolist()
        return ids, None if self._tokenizer is None else token_strings(self._tokenizer, ids)

    def _strings(self, ids: set[int]) -> dict[int, str] | None:
        """The text of each candidate, if there is a tokenizer that has one for it."""
        if self._tokenizer is None:
            return None
        return {one: token_string(self._tokenizer, one) for one in sorted(ids) if one >= 0}

    def _skipped(self) -> list[tuple[str, str, str]]:
        """Blocks that stand beside recorded ones and in which no attention was seen."""
        found: list[tuple[str, str, str]] = []
        for name, module in self._model.named_modules():
            if not isinstance(module, torch.nn.ModuleList):
                continue
            blocks = {f"{name}.{key}" if name else key: block for key, block in module.named_children()}
            recorded = {path for path in blocks if any(_within(seen, path) for seen in self._seen)}
            if not recorded:
                continue
            for path, block in blocks.items():
                if path not in recorded:
                    found.append(
                        (path, type(_mixer(block)).__name__, "no softmax attention was seen in this layer")
                    )
        return found

    def _nothing(self) -> str:
        name = type(self._model).__name__
        if not self._ran:
            return (
                "record: nothing was recorded, because the model did not run inside `with record(model)`, in "
                "the thread that entered it"
            )
        if not self._ended:
            return f"record: nothing was recorded, because no forward of {name} came to its end"
        return (
            f"record: nothing was recorded, because no softmax attention was seen in {name}; models of other "
            "layers only (Mamba and the like) have no query-key products, and a softmax or products written "
            "out by hand are not seen"
        )


def _refuse(model: torch.nn.Module) -> None:
    name = type(model).__name__
    for path, module in model.named_modules():
        where = f"{name}.{path}" if path else name
        if _compiled(module):
            raise RecordError(
                f"{where}: is compiled (torch.compile), and inside a compiled graph no call can be seen; "
                "record the model before compiling it"
            )
        if isinstance(module, torch.jit.ScriptModule):
            raise RecordError(f"{where}: is scripted (torch.jit), and inside a script no call can be seen")
    if type(model).forward is torch.nn.Module.forward and "forward" not in vars(model):
        raise RecordError(f"{name}: holds modules and does not run itself; record the model that calls them")
    config = getattr(model, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        raise RecordError(
            f"{name}: is an encoder-decoder; a tape holds one decoder's self-attention, and cross-attention "
            "is not that"
        )


def _compiled(module: torch.nn.Module) -> bool:
    """Whether `torch.compile` was given the module or its forward."""
    if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None:
        return True
    forward = module.forward  # `torch.compiler.disable` marks one as well
    return hasattr(forward, "_torchdynamo_orig_callable") and not hasattr(forward, "_torchdynamo_disable")


def _meta(model: torch.nn.Module) -> dict[str, str]:
    meta = {"model": type(model).__name__}
    parameter = next(model.parameters(), None)
    if parameter is not None:
        meta["dtype"] = str(parameter.dtype).removeprefix("torch.")
    implementation = getattr(getattr(model, "config", None), "_attn_implementation", None)
    if isinstance(implementation, str):
        meta["attention"] = implementation
    for package in ("lookbehind", "torch", "transformers"):
        if package in sys.modules:
            meta[package] = str(sys.modules[package].__version__)
    return meta


def _token_ids(frame: Frame) -> torch.Tensor | None:
    """The ids a forward was given: `input_ids`, or its first argument if that is a whole-number matrix."""
    first = next(iter(inspect.signature(frame.module.forward).parameters), "")
    given = [frame.kwargs.get("input_ids"), frame.kwargs.get(first), *frame.args[:1]]
    for one in given:
        if isinstance(one, torch.Tensor) and one.ndim == 2 and one.dtype in (torch.int64, torch.int32):
            return one.detach().to("cpu", torch.int64, copy=True)
    return None


def _rows(batch: Batch, step: Step, row: int) -> Iterator[Layer]:
    """What a step added to one sequence, layer by layer."""
    for name, rows in step.rows.items():
        grown = batch.layers[name]
        dtype = torch.float64 if rows.q.dtype == torch.float64 else torch.float32
        yield Layer(
            name,
            rows.q[row],
            rows.k[row],
            rows.spans[row],
            grown.scale,
            grown.softcap,
            None if grown.sinks is None else grown.sinks.to(dtype),
            # A slope that no query tells weighs no product.
            None if grown.alibi is None else grown.alibi.nan_to_num(0.0).to(dtype),
        )


def _predictions(step: Step, row: int) -> Predictions | None:
    """What a step said would come next, of one sequence."""
    said = step.said
    if said is None:
        return None
    return Predictions(said.ids[row], said.probabilities[row], said.loss[row], said.before[row])


def _within(seen: str, block: str) -> bool:
    return seen == block or seen.startswith(block + ".")


_MIXERS = ("mamba", "ssm", "recurrent", "rwkv", "conv", "linearattention", "deltanet", "mixer", "attention")


def _mixer(block: torch.nn.Module) -> torch.nn.Module:
    """The module of a block that mixes positions, by its class's name; the block itself if none is known."""
    for module in block.modules():  # outer ones first: a convolution is part of most
        name = type(module).__name__.lower()
        if module is not block and "norm" not in name and any(word in name for word in _MIXERS):
            return module
    return block
