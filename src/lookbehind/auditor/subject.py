"""Subject: any model as a function from token ids to logits, with what it supports and what it refuses.

Every call is seeded, without gradients and in eval mode, so that two calls with the same input are the same
call. What a model does instead of answering (an exception, NaN, another shape) becomes one `UncoveredError`.
"""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from lookbehind.auditor.report import Verdict
from lookbehind.auditor.state import forgotten
from lookbehind.errors import InputError, brief
from lookbehind.taps.logits import named

# Attributes of a config under which tokens with a meaning of their own are kept: never drawn as test tokens.
_SPECIAL = ("_token_id", "_token_index", "_token_ids")
# Those that any text may hold. Others stand for images and sounds, without which models refuse them.
_MARKS = ("eos_token_id", "pad_token_id", "bos_token_id", "sep_token_id")


class UncoveredError(Exception):
    """The rule at hand cannot be decided on this model; the message is the reason, in one line."""


# What a model raises that cannot run as it is asked to, say in another precision or listened to.
CANNOT_RUN = (UncoveredError, RuntimeError, TypeError)


@dataclass(frozen=True)
class Draw:
    """How test tokens [rows, n] were drawn: from a seed, or as others than those of the draw `of`."""

    seed: int
    n: int
    rows: int
    of: Draw | None = None

    @property
    def state(self) -> int:
        """What its generator is seeded with."""
        return _state(self.seed, self.of is not None)


def _state(seed: int, others: bool) -> int:
    return 1_000_003 * (seed + 1) + 17 * others


class Subject:
    """A model under audit.

    Args:
        model: an nn.Module or a callable; takes token ids [B, n] and gives logits [B, n, vocab], alone, first
            in a tuple, or as `.logits`.
        vocab: how many token ids there are; found out unless given.
    """

    def __init__(self, model: Any, vocab: int | None = None) -> None:
        if not callable(model):
            raise InputError(f"audit: a module or a callable is needed; got {type(model).__name__}")
        self.model = model
        self.module: torch.nn.Module | None = model if isinstance(model, torch.nn.Module) else None
        self.name = name_of(model)
        if self.device.type == "meta":
            told = "has no weights (they are on the meta device); load them first, and do not offload them"
            raise UncoveredError(f"{self.name} {told}")
        self.config: Any = text_config(model)
        self.seed = 0
        self.drawn: dict[Draw, None] = {}  # what `ids` gave, in order
        self.turned: dict[int, None] = {}  # the seeds that `others` was given
        # What torch.compile made hands everything on to the module that it was made of.
        self._own: Any = getattr(model, "_orig_mod", model)
        self._forward: Callable[..., Any] = self._own.forward if self.module is not None else model
        self._names, self._open, self._first = _parameters(self._forward)
        # What a forward does not name it may hand on through **kwargs to that of the class which it extends.
        self._library = False  # whether the last of them is one of transformers: they name all that they take
        further = self._open
        for kind in type(self._own).__mro__ if self.module is not None else ():
            if not further or kind is torch.nn.Module:
                break
            if "forward" in vars(kind):
                names, further, _ = _parameters(vars(kind)["forward"])
                self._names |= names
                self._library = kind.__module__.startswith("transformers.")
        self.vocab = vocab if vocab is not None else self._find_vocab()
        if self.vocab < 2:
            raise InputError(f"vocab: at least 2 token ids are needed to change a token; got {self.vocab}")

    # -- what it is ----------------------------------------------------------------------------------------

    @property
    def is_hf(self) -> bool:
        """Whether it is a model of transformers."""
        library = sys.modules.get("transformers.modeling_utils")
        return library is not None and isinstance(self._own, library.PreTrainedModel)

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        first = next(self.module.parameters(), None) if self.module is not None else None
        return torch.device("cpu") if first is None else first.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that most of its parameters' numbers have."""
        sizes: dict[torch.dtype, int] = {}
        for one in self.module.parameters() if self.module is not None else ():
            if one.is_floating_point():
                sizes[one.dtype] = sizes.get(one.dtype, 0) + one.numel()
        return max(sizes, key=lambda dtype: sizes[dtype]) if sizes else torch.float32

    @property
    def size(self) -> int:
        """How many parameters it has."""
        return sum(one.numel() for one in self.module.parameters()) if self.module is not None else 0

    @property
    def backend(self) -> str | None:
        """The attention implementation that its config names."""
        name = getattr(self.config, "_attn_implementation", None)
        return name if isinstance(name, str) else None

    def accepts(self, name: str) -> bool:
        """Whether its forward names this argument, or that of a class which it hands its `**kwargs` to.

        `**kwargs` alone does not count: it may swallow all.
        """
        return name in self._names

    def named(self, *parts: str) -> list[str]:
        """The arguments of its forward whose name holds one of these, in order of the alphabet."""
        return sorted(name for name in self._names if any(part in name for part in parts))

    def lacks(self, what: str, without: str = "") -> tuple[Verdict, str]:
        """The verdict and reason of a rule about something that its forward does not name."""
        if self._open and not self._library:
            told = f"{self.name}.forward names no {what}, and what it takes through **kwargs is not known"
            return "not covered", f"{told}; name it in the signature"
        return "not applicable", f"{self.name}.forward takes no {what}{without}"

    def switches(self, name: str) -> bool:
        """Whether this argument reaches it: named, or through `**kwargs` to its config's reader."""
        return self.accepts(name) or (self._open and self.is_hf and hasattr(self.config, name))

    @property
    def embedding(self) -> torch.nn.Module | None:
        """The module that turns token ids into vectors."""
        if self.module is None:
            return None
        get = getattr(self.module, "get_input_embeddings", None)
        if get is not None:
            try:
                found = get()
            except Exception:  # some composite models raise here; the search below serves them
                found = None
            if isinstance(found, torch.nn.Module):
                return found
        tables = [one for one in self.module.modules() if isinstance(one, torch.nn.Embedding)]
        exact = [one for one in tables if one.num_embeddings == self.vocab]
        return (exact or tables or [None])[0]

    @property
    def n_layers(self) -> int | None:
        """How many blocks stand in a row; None where nothing tells."""
        for name in ("num_hidden_layers", "n_layer", "n_layers", "num_layers"):
            value = getattr(self.config, name, None)
            if isinstance(value, int) and value > 0:
                return value
        blocks = self.blocks
        return len(blocks) if blocks else None

    @property
    def blocks(self) -> list[tuple[str, torch.nn.Module]]:
        """(path, block) of the longest list of modules: the layers, in order."""
        if self.module is None:
            return []
        best: list[tuple[str, torch.nn.Module]] = []
        for path, one in self.module.named_modules():
            inside = any(path.startswith(name + ".") for name, _ in best)  # experts are no layers
            if isinstance(one, torch.nn.ModuleList) and not inside and len(one) > len(best):
                best = [(f"{path}.{key}" if path else key, block) for key, block in one.named_children()]
        return best

    # -- running it ----------------------------------------------------------------------------------------

    @cached_property
    def plain(self) -> torch.Tensor:
        """The tokens that are not special, ascending; made once, as a vocabulary may be large."""
        special = special_ids(self.config)
        plain = [one for one in range(self.vocab) if one not in special]
        return torch.tensor(plain if len(plain) >= 2 else range(self.vocab))

    def ids(self, seed: int, n: int, rows: int = 1) -> torch.Tensor:
        """Seeded random tokens [rows, n], none of them special."""
        self.drawn[Draw(seed, n, rows)] = None
        generator = torch.Generator().manual_seed(_state(seed, False))
        table = self.plain
        return table[torch.randint(len(table), (rows, n), generator=generator)].to(self.device)

    def others(self, ids: torch.Tensor, seed: int) -> torch.Tensor:
        """Tokens that differ from `ids` everywhere, seeded."""
        self.turned[seed] = None
        generator = torch.Generator().manual_seed(_state(seed, True))
        table = self.plain
        place = torch.searchsorted(table, ids.cpu()).clamp(max=len(table) - 1)
        shift = torch.randint(1, len(table), ids.shape, generator=generator)
        return table[(place + shift) % len(table)].to(ids.device)

    @property
    def marks(self) -> list[int]:
        """The special tokens that bound or fill a text: end, padding, beginning, separator."""
        found: list[int] = []
        for name in _MARKS:
            found += _token_ids(getattr(self.config, name, None))
        return [one for one in dict.fromkeys(found) if 0 <= one < self.vocab]

    def logits(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits [B, n, vocab] of one seeded call without a cache.

        Raises:
            UncoveredError: the call fails, or gives NaN or something else than logits at every position.
        """
        words = {"use_cache": False} if self.accepts("use_cache") else {}
        with torch.no_grad():
            return check(self.read(self.call(ids, **words), ids), self.name)

    def anew(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits of one call that leaves nothing behind on the model: a length seen, a table made for it."""
        with forgotten(self.model):
            return self.logits(ids)

    def call(self, ids: torch.Tensor, **words: Any) -> Any:
        """One seeded call, as it comes; on copies, for some models write into what they are given."""
        seed_everything(self.seed)
        ids = ids.clone()
        words = {key: one.clone() if isinstance(one, torch.Tensor) else one for key, one in words.items()}
        try:
            return self.model(**{self._first: ids}, **words) if self._first else self.model(ids, **words)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:
            raise UncoveredError(f"{self.name} fails on {list(ids.shape)} tokens: {brief(error)}") from error

    def read(self, output: Any, ids: torch.Tensor) -> torch.Tensor:
        """The logits in what a call gave; a copy, for some models write into the same tensor at each call."""
        found = named(output)
        if found is None:
            raise UncoveredError(
                f"{self.name} returned {type(output).__name__}, in which there are no logits"
            )
        wanted = tuple(ids.shape)
        if found.ndim != 3 or tuple(found.shape[:2]) != wanted:
            raise UncoveredError(
                f"{self.name} returned {list(found.shape)} for tokens {list(wanted)}; logits "
                "[B, n, vocab] at every position are needed"
            )
        return found.clone()

    # -- inside --------------------------------------------------------------------------------------------

    def _find_vocab(self) -> int:
        table = None
        if self.is_hf:
            table = self.embedding
        size = getattr(table, "num_embeddings", None) or getattr(self.config, "vocab_size", None)
        if isinstance(size, int):
            known = getattr(self.config, "vocab_size", None)
            return min(size, known) if isinstance(known, int) else size
        # Which table do the ids go into? Asked by watching two tokens pass.
        seen: list[int] = []
        probe = torch.zeros(1, 2, dtype=torch.long, device=self.device)

        def watch(table: torch.nn.Module, args: tuple[Any, ...]) -> None:
            if (
                args
                and isinstance(args[0], torch.Tensor)
                and args[0].shape == probe.shape
                and not args[0].any()
            ):
                seen.append(int(table.num_embeddings))  # pyright: ignore[reportArgumentType]

        tables = [] if self.module is None else list(self.module.modules())
        hooks = [
            one.register_forward_pre_hook(watch) for one in tables if isinstance(one, torch.nn.Embedding)
        ]
        try:
            with torch.no_grad():
                width = int(self.read(self.call(probe), probe).shape[-1])
            return max(seen, default=width)
        except UncoveredError:
            if seen:
                return max(seen)
            raise
        finally:
            for hook in hooks:
                hook.remove()


def seed_everything(seed: int) -> None:
    """Whatever a model may draw from."""
    # torch.manual_seed takes a millisecond, as much as a tiny model: it asks after every kind of device.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def check(logits: torch.Tensor, name: str) -> torch.Tensor:
    """Logits without NaN. Infinite ones are allowed: some models rule tokens out with -inf."""
    if not logits.is_floating_point():
        raise UncoveredError(f"{name} returned {logits.dtype} where logits were expected")
    # The sum is a quick look: it is NaN where any number is, and where infinities of both signs meet.
    if bool(logits.sum().isnan()) and bool(torch.isnan(logits).any()):
        raise UncoveredError(f"{name} returned NaN for ordinary tokens; nothing can be compared")
    return logits


def name_of(model: Any) -> str:
    """A model's class, or a function's own name."""
    kind = type(model).__name__
    return kind if isinstance(model, torch.nn.Module) else getattr(model, "__name__", kind)


def text_config(model: Any) -> Any:
    """The config of the decoder inside a model, or None."""
    config = getattr(model, "config", None)
    get = getattr(config, "get_text_config", None)
    if get is not None:
        try:
            return get()
        except Exception:  # ambiguous composites; the whole config is what is left
            return config
    return config


def special_ids(config: Any) -> set[int]:
    """Token ids with a meaning of their own: padding, begin, end, image and the like."""
    found: set[int] = set()
    for name, value in (vars(config) if hasattr(config, "__dict__") else {}).items():
        if name.endswith(_SPECIAL):
            found.update(_token_ids(value))
    return found


def _token_ids(value: Any) -> list[int]:
    """The ids that one entry of a config names: one, several or none."""
    some = value if isinstance(value, (list, tuple)) else [value]
    return [one for one in some if isinstance(one, int) and not isinstance(one, bool)]


def _parameters(forward: Callable[..., Any]) -> tuple[frozenset[str], bool, str | None]:
    """(names, whether it takes any keyword, the name under which ids are passed or None for first)."""
    try:
        found = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):
        return frozenset(), True, None
    names = frozenset(one.name for one in found if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY))
    return (
        names,
        any(one.kind is one.VAR_KEYWORD for one in found),
        "input_ids" if "input_ids" in names else None,
    )
