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
