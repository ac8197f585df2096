"""Tiny random models, made the way users make theirs. `tests.models:tiny` is a `--model` too."""

from typing import Any


def tiny(context: int = 64) -> tuple[Any, Any]:
    """A random Qwen3 with a full and a sliding-window layer, and the built-in tokenizer."""
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    from lookbehind.model import PATH

    tokenizer = AutoTokenizer.from_pretrained(PATH, local_files_only=True)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=context,
        use_sliding_window=True,
        sliding_window=4,
        layer_types=["full_attention", "sliding_attention"],
        bos_token_id=0,
        eos_token_id=None,
        pad_token_id=0,
    )
    return Qwen3ForCausalLM(config).eval(), tokenizer


def bare() -> Any:
    """A model without its tokenizer."""
    return tiny()[0]


def chatty() -> tuple[Any, Any]:
    """A model of chats: its tokenizer begins each text with a special token, and so does its template."""
    from tokenizers.processors import TemplateProcessing

    model, tokenizer = tiny()
    start = tokenizer.bos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, tokenizer.bos_token_id)]
    )
    tokenizer.chat_template = (
        "{% if 'secret' in messages[0].content %}{{ raise_exception('no secrets,\nplease') }}{% endif %}"
        "{{ bos_token }}{% for one in messages %}{{ one.role }}: {{ one.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    return model, tokenizer


def silent() -> tuple[Any, Any]:
    """A model whose logits are no numbers."""
    model, tokenizer = tiny()
    model.lm_head.weight.data.fill_(float("nan"))
    return model, tokenizer


def narrow() -> tuple[Any, Any]:
    """A model that has fewer tokens than its tokenizer."""
    from lookbehind.auditor.architectures import tiny as architecture

    return architecture("GPT2LMHeadModel"), tiny()[1]


def plain() -> tuple[Any, Any]:
    """The same of a model without a config, which does not say so."""
    from tests.tiny_models import Plain

    return Plain(vocabulary=10), tiny()[1]


def broken() -> Any:
    """A factory that fails."""
    raise RuntimeError("the weights are on the other disk")


def wrong() -> str:
    """A factory that returns no model."""
    return "not a model"


number = 3
