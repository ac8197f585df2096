"""Rules: their codes, names, claims, and the page that `--explain` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lookbehind import checks
from lookbehind.errors import InputError


@dataclass(frozen=True)
class Rule:
    """A claim about a decoder that a finding refutes."""

    code: str
    name: str
    claim: str
    page: str


# Which module checks which rules, in the order in which they run: what a leak alone explains comes after it.
MODULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("influence", ("LB101", "LB102")),
    ("structure", ("LB103",)),
    ("reach", ("LB104",)),
    ("caching", ("LB201", "LB202", "LB203", "LB204")),
    ("padding", ("LB301", "LB302", "LB303")),
    ("packing", ("LB401",)),
    ("backends", ("LB501",)),
)

_PAGES = (
    Rule(
        "LB101",
        "future-leak",
        "the output at i does not change when tokens after i change (same shape)",
        """
The model is run on a sequence and on copies in which one token, or every token from a cut on, is another:
a random one, and by turns a copy of the token before the cut and each token that bounds or fills a text
(end, padding, beginning, separator, as the config names them). Other special tokens, as those of images,
are never tried. Shapes are equal, so outputs before the change must be equal bit for bit; where they are
not, float64 and steady sums tell rounding from influence.

A finding means that a prediction has seen what it predicts: the loss is too good, and generation, which has
no future to look at, is worse than evaluation said.

Usual causes: a mask shifted by one, left out on one layer, head or back end, or aligned top-left while a
cache is in use; normalisation or pooling over the sequence; a convolution padded on both sides; experts
that choose their tokens, or drop them by capacity; counts of tokens, documents or padding that are taken over
the whole text.
""",
    ),
    Rule(
        "LB102",
        "length-dependence",
        "f(x[:t]) equals f(x)[:t] beyond noise",
        """
Each prefix is run alone and compared with the same positions of the whole sequence. The shapes differ, so
the outputs differ by rounding; the same comparison in float64 tells whether by more.

A finding means that outputs depend on how long the sequence is, not on what is in it: evaluation at full
length and generation token by token disagree.

Usual causes: rotary frequencies rescaled by the current length (dynamic NTK, long-rope), attention scaled
by log n of the whole, statistics over the sequence, chunks that are padded.
""",
    ),
    Rule(
        "LB103",
        "pattern-exceeds",
        "every recorded attention call's spans lie within the expected pattern (structural)",
        """
Every attention call is recorded (`lookbehind.record`), and the key spans it was given are compared with the
expected pattern. This needs no perturbation: a mask that allows too much is seen even where the weights
hide it.

A finding names the attention module whose mask allows a product that the pattern forbids.
""",
    ),
    Rule(
        "LB104",
        "window-mismatch",
        "influence reaches exactly as far back as the declared windows / chunks allow, no further, no less",
        """
What the config declares (sliding_window, attention_chunk_size, layer_types), or the pattern given as
expect=, is compared with how far back each layer, and the whole model, is seen to look. A window of w is
the token itself and w - 1 before it; over L layers, influence reaches L * (w - 1) back.

A finding means an off-by-one window, a window that is declared and not applied, or one that is applied and
not declared.
""",
    ),
    Rule(
        "LB201",
        "cache-step",
        "decoding token by token with a cache equals the full forward",
        """
The sequence is fed one token at a time with the cache that the model returned, and the outputs are compared
with one forward of the whole. Both are repeated in float64. The cache is the argument that the forward
names for it, or that of a class which it extends and hands its **kwargs to.

Usual causes: positions that restart at 0, a mask aligned top-left, rotary embeddings applied twice, state
that is not carried.
""",
    ),
    Rule(
        "LB202",
        "cache-chunk",
        "feeding the sequence in uneven chunks with a cache equals the full forward",
        """
As LB201, in chunks of uneven sizes: prefill in parts, speculative decoding, a conversation continued. The
whole sequence in one call that makes a cache is tried too, also where the model takes use_cache alone.

Usual causes: a causal mask aligned top-left when there are fewer queries than keys, convolution or
recurrent state that is right only for one token or for a whole prompt.
""",
    ),
    Rule(
        "LB203",
        "static-cache",
        "decoding with static and sliding caches equals the full forward",
        """
As LB201, with caches of fixed size: prompts shorter and longer than the window, decoding across it.

Usual causes: empty slots that are attended to, slots of an earlier sequence, a window that slides one too
far.
""",
    ),
    Rule(
        "LB204",
        "cache-rollback",
        "tokens that are taken back from a cache leave nothing behind",
        """
As LB202, but other tokens, a draft, follow a piece, in its call or token by token, and are then taken back
from the cache by `cache.crop(-count)`, as speculative decoding does with what it rejects. Drafts are of
several lengths, and some pieces have none. All outputs are compared with the full forward, which never saw a
draft. Not tried where a cache has no crop, and on models that say of themselves that they are stateful.

A finding means that speculative decoding gives other text than decoding without it: rejected tokens, which
are no part of the sequence, are still read.

Usual causes: state beside the keys (convolutions, recurrent states, an indexer's keys, positions counted in
the module) that crop does not know, a window that has already dropped what is needed again.
""",
    ),
    Rule(
        "LB301",
        "left-padding",
        "padding on the left changes nothing",
        """
The sequence is padded on the left and masked, alone and in a batch, with and without position_ids, and
compared with itself unpadded.

Usual causes: positions counted from the padding, a mask that is ignored at batch 1, padding that enters
convolutions, states, routing or statistics.
""",
    ),
    Rule(
        "LB302",
        "right-padding",
        "padding on the right changes nothing",
        """
The sequence is padded on the right and masked, and its own positions are compared with itself unpadded. A
causal model must not see what lies behind, masked or not. With no padding at all, a mask of ones must
change nothing.

Usual causes: a mask of the caller's that takes the place of the causal one, statistics over the batch,
routing capacity, sequence lengths taken from the padded shape.
""",
    ),
    Rule(
        "LB303",
        "batch-neighbour",
        "the other rows of a batch change nothing",
        """
One row is kept and its neighbours are changed.

Usual causes: batch statistics, expert capacity shared by the batch, a reshape that mixes rows, a cache that
is shared.
""",
    ),
    Rule(
        "LB401",
        "packed-documents",
        "documents packed with restarting position_ids do not see one another",
        """
Documents are packed into one row with position_ids that restart; each is compared with itself alone, and
with itself beside other documents.

In transformers, position_ids tell documents apart only where there is neither a mask nor a cache: a mask of
ones says that every token may be read. For its models a finding is about that promise, and what an all-ones
mask or the cache that a call makes by default mix is told in the reason. For every other model that takes
position_ids it is a finding.

Usual causes: the model takes position_ids for rotary positions only, and its mask is made without them; a
recurrent state that runs on over the border of two documents.
""",
    ),
    Rule(
        "LB501",
        "backend-mismatch",
        "eager, sdpa and flex agree beyond noise",
        """
The same tokens run with each attention implementation that the model offers, in its own dtype and in
float64.

Usual causes: a mask that one back end ignores, softcap, sinks or a scale that one of them leaves out.
""",
    ),
)
RULES: dict[str, Rule] = {rule.code: rule for rule in _PAGES}


def chosen(select: Sequence[str] | None, ignore: Sequence[str] | None) -> tuple[str, ...]:
    """The rule codes that are selected and not ignored; a prefix stands for all that begin with it.

    Raises:
        InputError: a code names no rule, or none is left.
    """
    picked = set(RULES) if select is None else _named(select)
    picked -= set() if ignore is None else _named(ignore)
    if not picked:
        raise InputError("rules: none is left to run; select more or ignore fewer")
    return tuple(code for code in RULES if code in picked)


def explain(code: str) -> str:
    """The page of one rule, by its code or its name.

    Raises:
        InputError: there is no such rule.
    """
    wanted = code.strip()
    for rule in RULES.values():
        if wanted.upper() == rule.code or wanted.lower() == rule.name:
            # A paragraph is one line: where it breaks is for whoever shows it.
            paragraphs = [" ".join(part.split()) for part in rule.page.strip().split("\n\n")]
            return "\n\n".join([f"{rule.code} {rule.name}", f"Claim: {rule.claim}.", *paragraphs]) + "\n"
    raise InputError(f"rules: there is no {code!r}; there are {', '.join(RULES)}")


def _named(asked: Sequence[str]) -> set[str]:
    found: set[str] = set()
    several = [asked] if isinstance(asked, str) else asked
    if not isinstance(several, (list, tuple, set)) or not all(isinstance(one, str) for one in several):
        raise InputError(f"rules: codes are needed, as ['LB101', 'LB2']; got {checks.shown(asked)}")
    for one in several:
        wanted = one.strip()
        some = {
            rule.code
            for rule in RULES.values()
            if wanted and (rule.code.startswith(wanted.upper()) or rule.name == wanted.lower())
        }
        if not some:
            raise InputError(f"rules: there is no {one!r}; there are {', '.join(RULES)}")
        found |= some
    return found
