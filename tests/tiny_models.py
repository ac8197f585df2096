"""Tiny random decoders, one per way of computing attention, far from uniform."""

import warnings

import torch
from torch import nn
from torch.nn import functional as F

BASE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": None,
    "pad_token_id": 0,
}
WINDOW = 6
PROMPT, STEPS = 11, 20  # tokens of a prompt, and of what is generated after its first


def _llama4(t):
    base = {
        **BASE,
        "intermediate_size_mlp": 48,
        "head_dim": 8,
        "num_local_experts": 2,
        "attention_chunk_size": 8,
    }
    return t.Llama4ForCausalLM(
        t.Llama4TextConfig(**base, layer_types=["chunked_attention", "full_attention"], no_rope_layers=[1, 0])
    )


def _deepseek(t):
    return t.DeepseekV3ForCausalLM(
        t.DeepseekV3Config(
            **{**BASE, "num_key_value_heads": 4},
            moe_intermediate_size=16,
            n_routed_experts=4,
            num_experts_per_tok=2,
            n_group=1,
            topk_group=1,
            first_k_dense_replace=1,
            q_lora_rank=16,
            kv_lora_rank=16,
            qk_rope_head_dim=8,
            qk_nope_head_dim=16,
            v_head_dim=12,
        )
    )


def _gpt_oss(t):
    return t.GptOssForCausalLM(
        t.GptOssConfig(**BASE, head_dim=8, num_local_experts=2, num_experts_per_tok=1, sliding_window=WINDOW)
    )


MAKE = {
    "llama": lambda t: t.LlamaForCausalLM(t.LlamaConfig(**BASE)),
    "qwen3": lambda t: t.Qwen3ForCausalLM(t.Qwen3Config(**BASE, head_dim=8)),
    "gpt2": lambda t: t.GPT2LMHeadModel(
        t.GPT2Config(
            vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=128, bos_token_id=1, eos_token_id=None
        )
    ),
    "gpt_neox": lambda t: t.GPTNeoXForCausalLM(
        t.GPTNeoXConfig(**{k: v for k, v in BASE.items() if k != "num_key_value_heads"})
    ),
    "mistral": lambda t: t.MistralForCausalLM(t.MistralConfig(**BASE, sliding_window=WINDOW)),
    "gemma2": lambda t: t.Gemma2ForCausalLM(
        t.Gemma2Config(
            **BASE, head_dim=8, sliding_window=WINDOW, attn_logit_softcapping=5.0, query_pre_attn_scalar=8
        )
    ),
    "gpt_oss": _gpt_oss,
    "bloom": lambda t: t.BloomForCausalLM(
        t.BloomConfig(vocab_size=64, hidden_size=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=None)
    ),
    "mpt": lambda t: t.MptForCausalLM(
        t.MptConfig(
            vocab_size=64,
            d_model=32,
            n_layers=2,
            n_heads=4,
            max_seq_len=128,
            expansion_ratio=2,
            use_cache=True,
        )
    ),
    "llama4": _llama4,
    "deepseek_v3": _deepseek,
}


def tiny(name, attention="eager", dtype=torch.float32):
    """A model in eval mode whose matrices are re-drawn from one seed."""
    import transformers

    torch.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MAKE[name](transformers)
    model.eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                parameter.normal_(std=1.2 * parameter.shape[-1] ** -0.5)
            elif key.endswith("sinks"):
                parameter.normal_()
    model.set_attn_implementation(attention)
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")
    model.generation_config.pad_token_id = 0
    model.generation_config.eos_token_id = None
    return model.to(dtype)


def ids(length, batch=1, seed=3):
    return torch.randint(2, 64, (batch, length), generator=torch.Generator().manual_seed(seed))


class Block(nn.Module):
    """Attention with a cache of its own, over an expanded kv head, and a feed-forward layer."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x, cache):
        h = self.norm(x)
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q(h), *self.kv(h).chunk(2, -1))
        )
        if cache is not None:
            if self in cache:
                k, v = (torch.cat(pair, 2) for pair in zip(cache[self], (k, v), strict=True))
            cache[self] = (k, v)
        n_queries, n_keys = q.shape[2], k.shape[2]
        if n_queries == n_keys:
            seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            allowed = torch.ones(n_queries, n_keys, dtype=torch.bool).tril(n_keys - n_queries)
            seen = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        self.seen = (q, k, n_keys - n_queries)
        return x + self.out(seen.transpose(1, 2).flatten(2))


class Plain(nn.Module):
    """A hand-written decoder: no transformers, its own cache (a dict), its own argument names."""

    def __init__(self, width=32, heads=4, layers=2, vocabulary=64):
        super().__init__()
        torch.manual_seed(5)
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(256, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.head = nn.Linear(width, vocabulary)
        with torch.no_grad():
            for block in self.blocks:
                block.q.weight.normal_(std=0.4)
                block.kv.weight.normal_(std=0.4)
        self.eval()

    def forward(self, idx, cache=None):
        start = 0
        if cache:
            start = next(iter(cache.values()))[0].shape[2]
        x = self.tokens(idx) + self.places(torch.arange(start, start + idx.shape[1]))
        for block in self.blocks:
            x = block(x, cache)
        return self.head(x)


def generate(model, prompt, **options):
    options = {"max_new_tokens": STEPS + 1, "do_sample": False, "output_logits": True, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers' own affairs, such as generation flags
        return model.generate(prompt, return_dict_in_generate=True, **options)
