"""Models of transformers , one part replaced: static caches, back ends, masks that only structure shows."""

import torch

from tests.leaks.case import Case

CONFIG = {
    "vocab_size": 31,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": None,
    "pad_token_id": 0,
}


def _attention(base, change):
    """A subclass whose forward lets `change` alter the mask before it computes."""

    class Changed(base):
        def forward(
            self, hidden_states, position_embeddings=None, attention_mask=None, past_key_values=None, **kwargs
        ):
            causal = self.is_causal
            try:
                attention_mask = change(self, hidden_states, attention_mask, past_key_values)
                return super().forward(
                    hidden_states,
                    position_embeddings=position_embeddings,
                    attention_mask=attention_mask,
                    past_key_values=past_key_values,
                    **kwargs,
                )
            finally:
                self.is_causal = causal

    return Changed


def _unmasked(module, mask):
    module.is_causal = False
    return (
        None if mask is None else torch.zeros_like(mask, dtype=torch.float32).to(module.o_proj.weight.dtype)
    )


def _static(cache):
    return type(cache).__name__ == "StaticCache"


def sees_empty_slots(module, x, mask, cache):
    return _unmasked(module, mask) if _static(cache) and x.shape[1] == 1 else mask


def loses_oldest(module, x, mask, cache):
    """In a sliding layer whose buffer is full, the oldest slot is masked, though still in the window."""
    if not _static(cache) or mask is None or x.shape[1] > 1 or not _full(cache, module.layer_idx):
        return mask
    mask = mask.clone()
    mask[..., 0] = False if mask.dtype == torch.bool else torch.finfo(mask.dtype).min
    return mask


def _full(cache, layer):
    one = cache.layers[layer]
    return int(one.get_seq_length()) >= one.max_cache_len


def sdpa_unmasked(module, x, mask, cache):
    return _unmasked(module, mask) if module.config._attn_implementation == "sdpa" else mask


def always_unmasked(module, x, mask, cache):
    return _unmasked(module, mask)


def eager_without_window(module, x, mask, cache):
    if module.config._attn_implementation != "eager" or mask is None:
        return mask
    n = mask.shape[-1]
    blocked = torch.ones(n, n, dtype=torch.bool).triu(1)
    return torch.zeros_like(mask).masked_fill(blocked, torch.finfo(mask.dtype).min)


def sdpa_scaled(module, x, mask, cache):
    module.scaling = module.head_dim**-0.5 * (1.05 if module.config._attn_implementation == "sdpa" else 1.0)
    return mask


def llama(change=None, layers=(0, 1), backend="eager", mistral=False, after=None, model=None):
    """A maker of tiny Llamas, or Mistrals with a window of 4."""

    def make(seed=0):
        import transformers
        from transformers.models.llama.modeling_llama import LlamaAttention
        from transformers.models.mistral.modeling_mistral import MistralAttention

        kind = "Mistral" if mistral else "Llama"
        config = getattr(transformers, kind + "Config")(
            **CONFIG, **({"sliding_window": 4} if mistral else {})
        )
        config._attn_implementation = backend
        cls = getattr(transformers, kind + "ForCausalLM")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = (model(cls) if model else cls)(config)
            if change is not None:
                attention = _attention(MistralAttention if mistral else LlamaAttention, change)
                for layer in layers:
                    made.model.layers[layer].self_attn = attention(config, layer)
            with torch.no_grad():
                for parameter in made.parameters():
                    if parameter.ndim >= 2:
                        parameter.normal_(std=1.2 * parameter.shape[-1] ** -0.5)
            if after is not None:
                after(made)
        return made.eval()

    return make


def late_static(base):
    """Positions one too late once a static cache holds something."""

    class Late(base):
        def forward(self, input_ids=None, position_ids=None, past_key_values=None, **kwargs):
            if (
                _static(past_key_values)
                and position_ids is None
                and int(past_key_values.get_seq_length()) > 0
            ):
                past = int(past_key_values.get_seq_length())
                position_ids = torch.arange(input_ids.shape[1])[None] + past + 1
            return super().forward(
                input_ids=input_ids, position_ids=position_ids, past_key_values=past_key_values, **kwargs
            )

    return Late


def prefill_ahead(base):
    """With the cache on, a prompt's embeddings are centred on their mean; the rest goes through **kwargs."""

    class Centred(base):
        def forward(self, input_ids=None, **kwargs):
            if not kwargs.get("use_cache") or input_ids.shape[1] == 1:
                return super().forward(input_ids=input_ids, **kwargs)
            x = self.model.embed_tokens(input_ids)
            return super().forward(inputs_embeds=x - 0.5 * x.mean(1, keepdim=True), **kwargs)

    return Centred


def _closed(model):
    """Layer 1 writes nothing: its leak has no influence, for now (a zero-initialised adapter)."""
    model.model.layers[1].self_attn.o_proj.weight.data.zero_()


A1 = "model.layers.1.self_attn"

CASES = [
    Case(
        "static_empty_slots",
        llama(sees_empty_slots, (1,)),
        "LB203",
        None,
        {},
        "a decoding step reads the unwritten slots of a static cache",
    ),
    Case(
        "static_late_positions",
        llama(model=late_static),
        "LB203",
        None,
        {},
        "positions from the wrong counter of a static cache",
    ),
    Case(
        "prefill_ahead",
        llama(model=prefill_ahead),
        "LB202",
        None,
        {},
        "a subclass looks ahead while its cache is filled, and names no cache: it passes **kwargs on",
        ("LB203",),
    ),
    Case(
        "static_window_oldest",
        llama(loses_oldest, (1,), mistral=True),
        "LB203",
        None,
        {},
        "a static sliding cache loses a key once decoding crosses the window",
    ),
    Case(
        "sdpa_without_mask",
        llama(sdpa_unmasked, (1,)),
        "LB501",
        A1,
        {},
        "the mask is lost on one back end of two",
    ),
    Case("sdpa_scale", llama(sdpa_scaled), "LB501", None, {}, "one back end has another scale"),
    Case(
        "eager_without_window",
        llama(eager_without_window, (0,), "sdpa", mistral=True),
        "LB501",
        None,
        {},
        "one back end does not know the window",
    ),
    Case(
        "hugging_unmasked",
        llama(always_unmasked, (1,), "sdpa"),
        "LB101",
        A1,
        {},
        "is_causal = False left over from a bidirectional fine-tune",
    ),
    Case(
        "structure_only",
        llama(always_unmasked, (1,), after=_closed),
        "LB103",
        A1,
        {},
        "an unmasked layer whose output weights are zero: only the recorded products show it",
    ),
]
