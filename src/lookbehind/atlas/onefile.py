"""One file: the atlas of a tape as a page that needs neither a server nor a network.

It has to stay below 10 MB, so that it chooses, and says what it left out. A head is in it exactly (its
queries and keys, of which the page computes every product, at every zoom and scale), or as its weights pooled
at one level, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lookbehind import checks
from lookbehind.atlas.facts import facts
from lookbehind.atlas.frame import Frame
from lookbehind.atlas.geometry import THUMB, Geometry
from lookbehind.atlas.lens import Lens
from lookbehind.atlas.onehead import OneHead, RowNumbers, unfit
from lookbehind.atlas.packed import Blobs, Packed, integers, kind, numbers, words
from lookbehind.atlas.plate import check_head
from lookbehind.atlas.sight import Sight
from lookbehind.engines.observation import Observation
from lookbehind.errors import InputError
from lookbehind.pattern import First
from lookbehind.tape import Tape

if TYPE_CHECKING:
    from lookbehind.heads import HeadTable

MOST = 9_900_000  # bytes of the file
SCORED = 1 << 34  # products of all heads, beyond which the page goes without the head scores
DRAWN = 1 << 35  # products of the heads that are pooled unasked: a minute or two
FINE = 1024  # pixels a side of a head that is pooled because it cannot be there exactly
_NAMED = 12  # heads named one by one in a sentence
_LEADING = ("previous", "induction", "duplicate", "sink", "relative_entropy", "distance")

Name = tuple[int, int]


@dataclass(frozen=True)
class Page:
    """A self-contained page.

    Attributes:
        html: the file's text.
        left_out: what it does not hold, a sentence each; the page shows them too.
    """

    html: str
    left_out: tuple[str, ...]


def render(
    tape: Tape, title: str = "tape", heads: Sequence[Name] | None = None, level: int | None = None
) -> Page:
    """A tape as a page.

    Args:
        tape: what was recorded.
        title: what the page is called.
        heads: (layer, head) of those to hold exactly, the first first; chosen unless given.
        level: hold heads pooled over 2**level x 2**level products instead; 0 is exactly.

    Raises:
        InputError: the tape has no such head or level, or what was asked for does not fit.
    """
    return _Making(tape, title, heads, level).page()


@dataclass(frozen=True)
class _Glance:
    """A small map that may be added."""

    z: int
    lift: float
    blobs: Blobs

    @property
    def size(self) -> int:
        return self.blobs.size

    def add(self) -> dict[str, Any]:
        return {"z": self.z, "max": self.blobs.add()[0], "lift": self.lift, "mean": None, "mean_lift": 1.0}


class _Making:
    """A page being filled."""

    def __init__(self, tape: Tape, title: str, heads: Sequence[Name] | None, level: int | None) -> None:
        if not tape.layers:
            raise InputError("export: the tape holds no attention layer; there is nothing to look at")
        self.tape, self.title = tape, title
        self.geometry = Geometry(tape.n_queries, tape.n_keys)
        if level is not None:
            checks.whole("level", level, 0, self.geometry.top)
        self.asked = None if heads is None else [check_head(tape, *one, from_last=True) for one in heads]
        self.level = level
        self.packed = Packed()
        self.maps: dict[str, dict[str, Any]] = {}
        self.left_out: list[str] = []
        self.every: list[Name] = []
        for at, layer in enumerate(tape.layers):
            for head in range(layer.n_heads):
                if why := unfit(layer, head):
                    self.left_out.append(why)
                else:
                    self.every.append((at, head))
        for at, head in self.asked or ():
            if why := unfit(tape.layers[at], head):
                raise InputError(why)
        self._sights: dict[Name, Sight] = {}
        self._about = facts(tape, title)

    def page(self) -> Page:
        """Everything, the most wanted first."""
        tape = self.tape
        manifest: dict[str, Any] = {
            "tokens": self.packed.pack(words({"tokens": tape.tokens, "ids": tape.token_ids})).add()[0],
            "layers": [
                {
                    "width": layer.q.shape[2],
                    "dtype": kind(layer.q),
                    "spans": self.packed.pack(
                        integers(layer.spans.row_ptr, layer.spans.starts, layer.spans.stops)
                    ).add()[0],
                }
                for layer in tape.layers
            ],
            "said": self._said(),
            "maps": self.maps,
        }
        table = self._table()
        manifest["heads"] = [] if table is None else table.to_dict()
        bare = len(self.packed.page(self._facts(manifest), self.title).encode())
        self.frame = bare + 200 * len(self.every) + 5_000  # what is said about heads and what is left out too
        self.room = MOST - self.frame
        if self.room < 0:
            raise InputError(
                f"export: the text alone makes a page of {bare / 1e6:.1f} MB; at most {MOST / 1e6:.1f} MB fit"
            )
        order = self._order(table)
        if self.level:
            self._pooled(order, self.level)
        else:
            self._exact(order, spare=0 if self.level == 0 else self.room // 4)
            if self.level is None and not self.maps:
                self._pooled(order, self.geometry.level_of(FINE))
            self._glances(order)
            self._exact(order, spare=0)
            self._check(order)
        self._tell()
        text = self.packed.page(self._facts(manifest), self.title)
        assert len(text.encode()) <= 10_000_000
        return Page(text, tuple(self.left_out))

    # -- what goes in -----------------------------------------------------------------------------------

    def _facts(self, manifest: dict[str, Any]) -> dict[str, Any]:
        has = {**self._about["has"], "next": manifest["said"] is not None, "influence": False}
        shown = {**self._about, "has": has, "engine": "page's own", "left_out": self.left_out}
        return {**manifest, "tape": shown}

    def _said(self) -> dict[str, Any] | None:
        said = self.tape.predictions
        if said is None:
            return None
        known = self.tape.vocabulary
        texts = None if known is None else {str(one): text for one, text in known.items()}
        blobs = self.packed.pack(
            *(numbers(one) for one in (said.ids, said.probabilities, said.loss)), words(texts)
        )
        if blobs.size > MOST // 3:
            self.left_out.append("what the model said next: it is too long a text")
            return None
        ids, probabilities, loss, vocabulary = blobs.add()
        return {
            "ids": ids,
            "probabilities": probabilities,
            "loss": loss,
            "width": said.ids.shape[1],
            "vocabulary": vocabulary,
        }

    def _table(self) -> HeadTable | None:
        products = sum(layer.spans.count() * layer.n_heads for layer in self.tape.layers)
        if products > SCORED:
            self.left_out.append("the scores of the heads: `lookbehind heads` computes them")
            return None
        return self.tape.heads()

    def _order(self, table: HeadTable | None) -> list[Name]:
        """Heads, the most wanted first: those asked for; or else those that lead in a measure."""
        if self.asked is not None:
            return list(dict.fromkeys(self.asked))
        if table is None:
            return self.every
        ranks = [table.sorted(measure) for measure in _LEADING]
        leading = [(one.layer, one.head) for heads in zip(*ranks, strict=True) for one in heads]
        return sorted(set(self.every), key=leading.index)

    def _glances(self, order: list[Name]) -> None:
        """One tile of each head that is not there exactly, as far as room and time go."""
        products = DRAWN
        for name in dict.fromkeys([*order, *self.every]):
            if self.maps.get(_text(name)):
                continue
            products -= self.tape.layers[name[0]].spans.count()
            glance = self._glance(name, self.geometry.top) if products >= 0 else None
            if glance is None or glance.size > self.room:
                return
            self.room -= glance.size
            self._entry(name)["coarse"] = glance.add()

    def _glance(self, name: Name, z: int) -> _Glance:
        """A head's largest weights at a level."""
        rows, keys = slice(0, self.tape.n_queries), slice(0, self.tape.n_keys)
        frame = Frame.of(self._sight(name).pixels(rows, keys, z, ("max",))["max"])
        return _Glance(z, frame.multiplier, self.packed.pack(frame.payload))

    def _exact(self, order: list[Name], spare: int) -> None:
        """Queries and keys, head by head, while more than `spare` is left."""
        for name in order:
            # What cannot fit is not deflated to find that out.
            if self._is_exact(name) or self._exact_size(name) > 2 * (self.room - spare):
                continue
            layer = self.tape.layers[name[0]]
            head = self._sight(name).head
            blobs = self.packed.pack(
                numbers(head.q),
                numbers(head.k),
                numbers(self._lse(name).float()),
                self._tracks(self._seen(name)),
            )
            # The page computes all it shows of this head; a small map opens the sheet at once.
            small = self._glance(name, self.geometry.level_of(THUMB)) if self.geometry.top else None
            size = blobs.size + (small.size if small else 0)
            if size > self.room - spare:
                continue
            self.room -= size
            q, k, lse, tracks = blobs.add()
            sink = None if layer.sinks is None else float(layer.sinks[name[1]])
            entry = self._entry(name)
            entry["exact"] = {"q": q, "k": k, "lse": lse, "slope": head.slope, "sink": sink}
            entry["coarse"] = small.add() if small else None
            entry["tracks"] = tracks

    def _check(self, order: list[Name]) -> None:
        """Heads that were to be there exactly and do not fit are an error."""
        missing = [name for name in order if not self._is_exact(name)]
        if missing and self.level == 0 and (self.asked is not None or len(missing) == len(order)):
            raise InputError(
                f"export: {len(missing)} of the {len(order)} heads asked for do not fit exactly into "
                f"{MOST / 1e6:.1f} MB, the first of them {_text(missing[0])} with "
                f"{self._exact_size(missing[0]) / 1e6:.1f} MB; ask for fewer, or give --level 1 or more"
            )

    def _pooled(self, order: list[Name], z: int) -> None:
        """Weights pooled at a level, largest and mean."""
        products = DRAWN
        for name in order:
            products -= self.tape.layers[name[0]].spans.count()
            if products < 0 and self.asked is None and any(one["tracks"] for one in self.maps.values()):
                return
            rows, columns = self.geometry.shape(z)
            seen = self._seen(name, 1 << z, map=(rows, columns), map_reduce=("max", "mean"))
            assert seen.maps is not None  # asked for
            largest, mean = (
                Frame.of(seen.maps[pool][0, 0].float().cpu().numpy()) for pool in ("max", "mean")
            )
            blobs = self.packed.pack(largest.payload, mean.payload, self._tracks(seen))
            if blobs.size > self.room:
                if self.asked is None and name != order[0]:
                    continue
                raise InputError(
                    f"export: layer {name[0]} head {name[1]} at level {z} is {blobs.size / 1e6:.1f} MB, and "
                    f"{self.room / 1e6:.1f} MB are left; ask for fewer heads or give --level {z + 1} or more"
                )
            self.room -= blobs.size
            high, middle, tracks = blobs.add()
            entry = self._entry(name)
            entry["coarse"] = {
                "z": z,
                "max": high,
                "lift": largest.multiplier,
                "mean": middle,
                "mean_lift": mean.multiplier,
            }
            entry["tracks"] = tracks

    # -- what is said about it --------------------------------------------------------------------------

    def _tell(self) -> None:
        """Sentences on what is not in the page."""
        pooled: dict[int, list[Name]] = {}
        absent: list[Name] = []
        for name in self.every:
            entry = self.maps.get(_text(name))
            if entry is None or not (entry["exact"] or entry["coarse"]):
                absent.append(name)
            elif not entry["exact"]:
                pooled.setdefault(entry["coarse"]["z"], []).append(name)
        of = f"of {len(self.every)} heads"
        for z, names in sorted(pooled.items()):
            side = 1 << z
            kept = f"pooled over {side} x {side}" if z else "single"
            self.left_out.append(
                f"queries and keys of {len(names)} {of}, whose weights are here {kept}: {_names(names)}"
            )
        if absent:
            self.left_out.append(f"{len(absent)} {of} altogether: {_names(absent)}")

    # -- parts ------------------------------------------------------------------------------------------

    def _is_exact(self, name: Name) -> bool:
        return bool(self.maps.get(_text(name), {}).get("exact"))

    def _entry(self, name: Name) -> dict[str, Any]:
        return self.maps.setdefault(_text(name), {"exact": None, "coarse": None, "tracks": None})

    def _sight(self, name: Name) -> Sight:
        if name not in self._sights:
            layer, head = self.tape.layers[name[0]], name[1]
            lse = None if layer.known_lse is None else layer.known_lse[head]
            own = RowNumbers(OneHead(layer, head), layer.spans, lse)
            self._sights[name] = Sight(own.head, Lens(), own, own)
        return self._sights[name]

    def _lse(self, name: Name) -> torch.Tensor:
        return self._sight(name).above(np.arange(self.tape.n_queries))

    def _exact_size(self, name: Name) -> int:
        """Bytes of a head's queries, keys and row numbers in base64, were they not deflated."""
        head = self._sight(name).head
        return len(numbers(head.q[:1])) * (self.tape.n_queries + self.tape.n_keys) * 4 // 3

    def _seen(self, name: Name, side: int = 1, **wants: Any) -> Observation:
        """What tracks are made of, and what else is wanted, from one pass."""
        return self._sight(name).head.observe(
            self.tape.layers[name[0]].spans,
            np.arange(self.tape.n_queries),
            slice(0, self.tape.n_keys),
            self._lse(name),
            (side, side),
            received=True,
            entropy=True,
            mass={"sink": First(1)},
            **wants,
        )

    def _tracks(self, seen: Observation) -> bytes:
        """Entropy and sink mass of each query, received mass of each key: float32, one after another."""
        assert seen.entropy is not None and seen.received is not None and seen.mass is not None  # asked for
        n_queries, n_keys = self.tape.n_queries, self.tape.n_keys
        lengths = ((seen.entropy, n_queries), (seen.mass["sink"], n_queries), (seen.received, n_keys))
        return b"".join(numbers(one[0, 0, :length].float()) for one, length in lengths)


def _text(name: Name) -> str:
    return f"{name[0]}.{name[1]}"


def _names(names: Iterable[Name]) -> str:
    texts = [_text(name) for name in names]
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return ", ".join(texts[:_NAMED]) + more
