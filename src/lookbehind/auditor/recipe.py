"""Recipe: the few lines of Python that show one difference by themselves."""

from __future__ import annotations

import torch

from lookbehind.auditor.comparison import Comparison
from lookbehind.auditor.decoding import SPARE, Decoded, cache_name
from lookbehind.auditor.evidence import Decision
from lookbehind.auditor.forward import At, Forward, Joined, Source
from lookbehind.auditor.plan import Plan
from lookbehind.auditor.subject import Subject, UncoveredError
from lookbehind.auditor.written import Written

_PIECES = 24  # so many pieces of decoding are written out
_PLAIN = 1e-3  # of the largest output: what is larger shows without float64


def recipe(subject: Subject, plan: Plan, one: Comparison, place: int, decision: Decision) -> str | None:
    """Lines that print how far the output `place` of a comparison is off; None where they cannot be few."""
    widened = decision.dtype == "float64" != str(subject.dtype).removeprefix("torch.")
    written = Written(subject)
    try:
        calls = [
            *_lines(written, one.expected, place, "right"),
            *_lines(written, one.got, place, "other"),
        ]
    except UncoveredError:
        return None
    lines = [
        "import torch",
        plan.origin,
        *(["model.double()"] if widened and decision.difference < _PLAIN else []),
        *written.lines,
        *calls,
        "print((right - other).abs().max())  # 0 but for rounding, were it right",
    ]
    return "\n".join(lines)


def _lines(written: Written, source: Source, place: int, name: str) -> list[str]:
    if isinstance(source, Joined):
        source, place = source.find(place)
    if isinstance(source, At):
        row, position = source.places[place]
        call = source.call
        switch = [] if call.backend is None else [f'model.set_attn_implementation("{call.backend}")']
        return [*switch, f"{name} = {_call(written, call)}[{row}, {position}]"]
    if isinstance(source, Decoded) and source.used is None and not source.singly:
        return _decoding(written, source, place, name)
    raise UncoveredError("no short recipe")


def _decoding(written: Written, source: Decoded, place: int, name: str) -> list[str]:
    subject, at = written.subject, source.start + place
    pieces = [(a, b) for a, b in source.pieces() if a <= at]
    a, last = pieces[-1]
    around = str(pieces)
    if len(pieces) > _PIECES:
        cuts = written.row([*(start for start, _ in pieces), last])
        around = f"itertools.pairwise({cuts})"
    cache = cache_name(subject) or "past_key_values"
    words = [f"{cache}=cache"]
    given: list[str] = []
    first = "" if cache == "past_key_values" else "a"
    end = "b" if source.drafts is None else "end"
    for key, tensor, span in (
        ("attention_mask", source.mask, f"{first}:{end}"),
        ("position_ids", source.position_ids, f"a:{end}"),
    ):
        if tensor is not None:
            given.append(f"{key} = {written.tensor(tensor)}")
            words.append(f"{key}={key}[:, {span}]")
    words += ["use_cache=True"] if subject.switches("use_cache") else []
    made = "None"
    if source.make is not None:
        slots = source.ids.shape[1] + SPARE
        made = f"transformers.StaticCache(config=model.config, max_cache_len={slots})"
        given = ["import transformers", *given]
    if len(pieces) > _PIECES:
        if source.drafts is not None:
            raise UncoveredError("no short recipe")
        given = ["import itertools", *given]
    reading = _reading(subject)
    after = f"out.{cache}" if reading == ".logits" else "out[1]"
    given.append(f"ids, cache = {written.tensor(source.ids)}, {made}")
    if source.drafts is None:
        loop = [
            f"for a, b in {around}:",
            f"    out = model(ids[:, a:b], {', '.join(words)}); cache = {after}",
        ]
    else:
        given.append(f"draft = {written.tensor(source.drafts)}")
        loop = [
            f"for a, b, end in {[(a, b, source.end(b)) for a, b in pieces]}:",
            "    tokens = torch.cat((ids[:, a:b], draft[:, b:end]), 1)",
            f"    out = model(tokens, {', '.join(words)}); cache = {after}",
            '    records = hasattr(cache, "activate_past_recording")',
            "    if records and a == 0: cache.activate_past_recording()",
            "    if end > b or records: cache.crop(b - end)  # the draft is rejected",
        ]
    return [*given, *loop, f"{name} = out{reading}[{source.row}, {at - a}]"]


def _call(written: Written, call: Forward) -> str:
    subject, words = written.subject, [written.tensor(call.ids)]
    for name, tensor in (("attention_mask", call.mask), ("position_ids", call.position_ids)):
        if tensor is not None:
            words.append(f"{name}={written.tensor(tensor)}")
    if call.use_cache is not None and subject.switches("use_cache"):
        words.append(f"use_cache={call.use_cache}")
    return f"model({', '.join(words)}){_reading(subject)}"


def _reading(subject: Subject) -> str:
    with torch.no_grad():
        output = subject.call(subject.ids(0, 2))
    if isinstance(output, torch.Tensor):
        return ""
    return ".logits" if hasattr(output, "logits") else "[0]"
