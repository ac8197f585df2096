"""Tokenizers that need no vocabulary."""


class Bytes:
    """A byte-level tokenizer: an id is a byte."""

    def decode(self, some):
        return bytes(some).decode(errors="replace")


class Letters:
    """Every id has a name."""

    def decode(self, some):
        return "".join(f"<{one}>" for one in some)
