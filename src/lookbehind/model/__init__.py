"""The built-in decoder: a small transformers model that works offline, and a text to show it on.

What it is, how it was trained and what its heads do is said in ``weights/MODEL_CARD.md``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PATH: Path = Path(__file__).parent / "weights"
"""The folder of the weights, as ``from_pretrained`` takes it."""


def load() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The decoder (float32, in evaluation mode) and its tokenizer, read from the package's own files."""
    # Imported here: transformers takes seconds to import, and `lookbehind` is useful without it.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # The weights are stored in bfloat16; float32 is exact for them and fast on every CPU.
    model = AutoModelForCausalLM.from_pretrained(PATH, dtype=torch.float32, local_files_only=True)
    return model.eval(), AutoTokenizer.from_pretrained(PATH, local_files_only=True)


def demo_text() -> str:
    """A Python source file of about 1,900 tokens that the decoder was not trained on."""
    return (Path(__file__).parent / "demo.txt").read_text(encoding="utf-8")
