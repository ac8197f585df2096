"""What can go wrong, as few kinds as there are things a caller does about it.

Every message is one line that says what was asked, what arrived, and what to do.
"""


class LookbehindError(Exception):
    """Base of every error this package raises on purpose. The command line exits with `exit_code`."""

    exit_code = 2


class InputError(LookbehindError, ValueError):
    """An argument is wrong: text, shape, dtype, device, range or path."""


class PatternError(InputError):
    """A pattern, its text or its parameters are wrong; text errors point at the column."""


class TapeError(LookbehindError):
    """A tape on disk is damaged, foreign or incomplete; the message names the file."""


class StorageError(TapeError):
    """A tape, or a picture of it, cannot be written; the message names the file and what the disk says."""

    exit_code = 3


class EngineError(LookbehindError):
    """An engine asked for by name cannot run this call here."""

    exit_code = 3


class RecordError(LookbehindError):
    """A model's attention cannot be recorded exactly; the message names the layer and the reason."""

    exit_code = 3


def harmless(text: str, kept: str = "\n\t") -> str:
    """Text whose control characters but `kept` are written out, so that it does not act on a terminal."""
    return "".join(one if one.isprintable() or one in kept else f"\\x{ord(one):02x}" for one in text)


def brief(error: BaseException) -> str:
    """An error of other people's code in one short line."""
    lines = str(error).strip().splitlines()
    text = lines[0].strip() if lines else ""
    text = harmless(text, kept="")  # it goes into XML too, where control characters are forbidden
    text = text if len(text) <= 200 else text[:199] + "…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
