"""Tokens: the text of each token, by whatever tokenizer there is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any


def token_string(tokenizer: Any, one: int) -> str:
    """The text of a token that stands alone, its leading space kept; bytes as in `token_strings`."""
    text = _decode(tokenizer, [one])
    piece = _piece(tokenizer, one)
    if "\ufffd" in text:
        return _bytes_shown(tokenizer, one)
    # SentencePiece decoders drop the space of a first token.
    return " " + text if piece.startswith("\u2581") and not text.startswith(" ") else text


def token_strings(tokenizer: Any, ids: list[int]) -> list[str]:
    """One string per id, which joined read as the text; a piece of a character as its bytes, `<0xC3>`.

    Args:
        tokenizer: of transformers or tokenizers, or anything with `decode(ids)`.
        ids: token ids.
    """
    decode = partial(_decode, tokenizer)
    alone = [decode([one]) for one in ids]
    if "".join(alone) == decode(ids):
        return alone
    pieces: list[str] = []
    for place, one in enumerate(ids):
        # A few tokens before it tell whether a space or the rest of a character belongs to this one.
        before = decode(ids[max(0, place - 4) : place])
        both = decode(ids[max(0, place - 4) : place + 1])
        # A second byte of a character may leave its sign for an unfinished one as it is.
        more = both.startswith(before) and not (both == before and both.endswith("\ufffd"))
        piece = both[len(before) :] if more else "\ufffd"
        pieces.append(_bytes_shown(tokenizer, one) if "\ufffd" in piece else piece)
    return pieces


def _decode(tokenizer: Any, some: list[int]) -> str:
    """The text of tokens; of one that the tokenizer does not have its id, as `<7>`."""
    try:
        try:
            return str(tokenizer.decode(some, skip_special_tokens=False))
        except TypeError:  # tiktoken and hand-written ones take the ids alone
            return str(tokenizer.decode(some))
    except Exception:  # each has its own; a model's vocabulary may be wider, and no recording is lost for it
        return f"<{some[0]}>" if len(some) == 1 else "".join(_decode(tokenizer, [one]) for one in some)


def _piece(tokenizer: Any, one: int) -> str:
    """The token as the tokenizer spells it; U+FFFD where it does not say."""
    to_token: Callable[[int], str] | None = getattr(tokenizer, "convert_ids_to_tokens", None)
    to_token = to_token or getattr(tokenizer, "id_to_token", None)
    try:
        return "\ufffd" if to_token is None else str(to_token(one))
    except Exception:  # as in `_decode`
        return "\ufffd"


def _bytes_shown(tokenizer: Any, one: int) -> str:
    token = _piece(tokenizer, one)
    if token.startswith("<0x"):
        return token
    table = _byte_level()
    if not all(letter in table for letter in token):
        return "\ufffd"
    return "".join(
        f"<0x{table[letter]:02X}>" if table[letter] > 126 else chr(table[letter]) for letter in token
    )


def _byte_level() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes are themselves, the others follow from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
