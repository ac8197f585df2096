"""`lookbehind record`: what a model looked at while it read a text, kept as a tape."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookbehind import checks, disk
from lookbehind.cli.common import (
    ChatOption,
    FileOption,
    JsonOption,
    TextArgument,
    console,
    print_json,
    read_text,
    size,
    some,
    working,
)
from lookbehind.cli.models import (
    AttentionOption,
    DeviceOption,
    DtypeOption,
    ModelOption,
    TrustOption,
    load_both,
    set_up,
)
from lookbehind.errors import InputError, LookbehindError, harmless

if TYPE_CHECKING:
    from lookbehind.tape import Tape

MOST_LOGITS = 1 << 28  # held at once: 1 GB in float32


def record(
    text: TextArgument = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The tape to write, a new directory.", show_default=False),
    ] = None,
    file: FileOption = None,
    model: ModelOption = None,
    trust_remote_code: TrustOption = False,
    chat: ChatOption = False,
    generate: Annotated[
        int,
        typer.Option(
            "--generate",
            "-g",
            help="Tokens to generate after the text; penalties in the model's generation config hold.",
        ),
    ] = 0,
    temperature: Annotated[
        float, typer.Option("--temperature", help="Sample what is generated; 0 takes the likeliest token.")
    ] = 0.0,
    top_p: Annotated[
        float,
        typer.Option("--top-p", help="Sample from the likeliest tokens that have this probability together."),
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="The same seed samples the same tokens.")] = 0,
    dtype: DtypeOption = None,
    device: DeviceOption = None,
    attn: AttentionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record what a model looks at while it reads a text, exactly and at any length.

    The model runs as it is: its outputs are the same bit for bit. The tape keeps queries, keys and patterns,
    from which every weight can be computed again, and what the model said would come next after each token.
    Ctrl-C leaves a tape of what had been read by then.
    """
    if out is None:
        raise InputError("record: say where the tape goes, as in -o run.tape")
    prompt = read_text(text, file)
    check_new(out)
    checks.whole("generate", generate, 0)
    choice = sampling(temperature, top_p, seed)
    if temperature and not generate:
        raise InputError("temperature: no token is generated that could be sampled; give --generate")
    with working("loading the model"):
        loaded, tokenizer = load_both(model, trust_remote_code)
        set_up(loaded, device, attn, dtype)
    with working(f"recording {out}"):
        tape, continuation = record_run(loaded, tokenizer, prompt, out, generate, chat, choice, keep=True)
    facts = tape_facts(tape, out)
    if as_json:
        print_json({"tape": str(out), "continuation": continuation, **facts})
        return
    console.print(
        f"{some(facts['tokens'], 'token')}, {some(facts['layers'], 'layer')}, {some(facts['heads'], 'head')}",
        markup=False,
    )
    for kind in facts["kinds"]:
        console.print(
            f"  {kind['layers']} of the layers: {kind['pattern']}, "
            f"{some(kind['products'], 'product')} per head",
            markup=False,
        )
    for name, class_name, reason in facts["skipped"]:
        console.print(f"  not recorded: {name} ({class_name}): {reason}", markup=False)
    if continuation:
        console.print(f"generated {continuation!r}", markup=False)
    console.print(
        harmless(f"wrote {out}, {size(facts['bytes'])}; next: lookbehind heads {out}"),
        markup=False,
        soft_wrap=True,
    )


@dataclass(frozen=True)
class Sampling:
    """Drawing tokens from what the model says: see the options of `record`."""

    temperature: float
    top_p: float
    seed: int


def sampling(temperature: float, top_p: float, seed: int) -> Sampling | None:
    """The options of that name; None where the likeliest token is taken.

    Raises:
        InputError: one of them is out of its range.
    """
    # Logits divided by much less would be infinite.
    if not (temperature == 0 or 1e-6 <= temperature < math.inf):
        raise InputError(
            f"temperature: 0 or a finite number of at least 0.000001 is needed; got {temperature:g}"
        )
    if not 0 < top_p <= 1:
        raise InputError(f"top-p: a share above 0 and up to 1 is needed; got {top_p:g}")
    checks.whole("seed", seed, 0, 2**63 - 1)
    if not temperature and (top_p < 1 or seed):
        name = "top-p" if top_p < 1 else "seed"
        raise InputError(f"{name}: without --temperature the likeliest token is taken, and none is sampled")
    return Sampling(temperature, top_p, seed) if temperature else None


def record_run(
    model: Any,
    tokenizer: Any,
    text: str,
    out: Path,
    generate: int,
    chat: bool = False,
    choice: Sampling | None = None,
    keep: bool = False,
) -> tuple[Tape, str]:
    """Runs the model under the recorder; nothing is left at `out` if it fails.

    Args:
        keep: whether Ctrl-C leaves a tape of what had been read by then, if anything had.
    """
    from lookbehind.predict import embedded, encode, templated
    from lookbehind.recorder import record as recorded

    if generate and not hasattr(model, "generate"):
        raise InputError(f"generate: {type(model).__name__} cannot generate; leave --generate out")
    text = templated(tokenizer, text) if chat else text
    ids = encode(model, tokenizer, text, room=generate, chat=chat)
    try:
        out.mkdir()
    except FileExistsError:
        raise _taken(out) from None
    try:
        with recorded(model, to=out, tokenizer=tokenizer) as recorder, embedded(ids):
            done = run_model(model, ids, generate, choice)
        tape = recorder.tape()
    except BaseException as error:
        if keep and isinstance(error, KeyboardInterrupt) and (n_tokens := _kept(out)):
            raise KeyboardInterrupt(f"{out} holds {some(n_tokens, 'token')} read by then") from None
        # `out` was made by this run, so what lies there is its own.
        shutil.rmtree(out, ignore_errors=True)
        raise
    return tape, tokenizer.decode(done[0, ids.shape[1] :])


def _kept(out: Path) -> int:
    """Tokens on the tape of a run that was cut off; 0 if there is none."""
    from lookbehind.tape import load

    try:
        return max((layer.k.shape[1] for layer in load(out).layers), default=0)
    except LookbehindError:
        return 0


def run_model(model: Any, ids: Any, generate: int, choice: Sampling | None = None) -> Any:
    """Reads `ids` and writes `generate` tokens more, the likeliest each time or by `choice`; all ids, [1, n].

    What else the model's generation config says, as a penalty for repetition, holds, and so does its end.
    Every row's logits are asked for, so that a recorder hears what the model said after each token, not after
    the last alone. Where they would fill the memory, the text is read in chunks.
    """
    import torch

    from lookbehind.predict import declared

    rows = max(1, MOST_LOGITS // (declared(model, "vocab_size") or 1))
    chunked = ids.shape[1] > rows
    with torch.no_grad():
        if not generate:
            if chunked and "past_key_values" in signature(model.forward).parameters:
                cache = None
                for part in ids.split(rows, 1):
                    cache = model(input_ids=part, past_key_values=cache, use_cache=True).past_key_values
            else:
                model(ids)
            return ids
        options: dict[str, Any] = {"prefill_chunk_size": rows} if chunked else {}
        if "logits_to_keep" in signature(model.forward).parameters:
            options["logits_to_keep"] = 0  # all of them; generate() keeps the last row's unless told
        if choice is not None:
            torch.manual_seed(choice.seed)
            # A top_k of the model's config, or of 50 where there is none, would leave out the others.
            options |= {"temperature": choice.temperature, "top_p": choice.top_p, "top_k": 0}
        try:
            # With a cache, whatever the config says: without one each token begins another sequence.
            return model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                use_cache=True,
                do_sample=choice is not None,
                max_new_tokens=generate,
                **options,
            )
        except RuntimeError as error:
            if "probability tensor contains" not in str(error):
                raise
            raise InputError(
                "model: its logits are NaN or infinite and give no probabilities to sample from; "
                "check its weights and its dtype"
            ) from error


def tape_facts(tape: Tape, directory: Path) -> dict[str, Any]:
    """What a tape holds that lies in a directory, as plain data."""
    kinds: dict[Any, list[int]] = {}
    for at, layer in enumerate(tape.layers):
        kinds.setdefault(layer.spans, []).append(at)
    return {
        "tokens": max((layer.k.shape[1] for layer in tape.layers), default=0),
        "layers": len(tape.layers),
        "heads": sum(layer.q.shape[0] for layer in tape.layers),
        "products": sum(layer.spans.count() * layer.q.shape[0] for layer in tape.layers),
        "bytes": disk.size_of(directory),
        "kinds": [
            {
                "pattern": spans.describe(),
                "layers": len(layers),
                "products": spans.count(),
                "of": spans.n_queries * spans.n_keys,
                "heads": sum(tape.layers[at].q.shape[0] for at in layers),
            }
            for spans, layers in kinds.items()
        ],
        "skipped": [list(one) for one in tape.skipped],
    }


def _taken(out: Path) -> InputError:
    return InputError(f"{out}: exists already; choose another name or remove it first")


def check_new(out: Path) -> None:
    """Refuses an output that exists or cannot be made, before the model is loaded."""
    if out.exists() or out.is_symlink():
        raise _taken(out)
    disk.check_parent(out)
