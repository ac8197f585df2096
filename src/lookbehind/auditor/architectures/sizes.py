"""Sizes: a configuration shrunk by what its settings are called.

Every architecture's configuration is another class, but they spell the same things in few ways. Each rule
gives a small value to the settings that a regular expression names; per-layer lists keep one layer of each
kind. What follows no rule is in `stubborn.py`.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

VOCABULARY = 96
WIDTH = 64
HEADS = 4
HEAD = 16
WINDOW = 8  # windows, chunks, blocks: so short that a short text exceeds them
CONTEXT = 128
_INNER = 48
_LAYERS = 2
_KINDS = 6  # layers of as many kinds are kept

_RULES: list[tuple[re.Pattern[str], int]] = [
    (re.compile(pattern), value)
    for pattern, value in (
        # Tokens. Special ids that mean another modality lie past the vocabulary, where no text has them.
        (r"(decoder_|unpadded_)?vocab_size(_per_layer_input)?", VOCABULARY),
        (r"pad_token_id|pad_index", 0),
        (r"bos_token_id|decoder_start_token_id|bos_index", 1),
        (r"(forced_)?eos_token_id|sep_token_id|eos_index", 2),
        (r"(mask|unk|cls|eod)_(token_id|index)", 3),
        (r"(image|video|audio|vision|boi|eoi|boa|eoa)\w*_token_(id|index)|eoa_token_index", VOCABULARY + 4),
        # Layers
        (r"layers|(num_hidden|n|num|num_encoder|num_decoder|encoder|decoder|num_global)_layers?", _LAYERS),
        (r"(first_k_dense_replace|num_dense_layers|max_window_layers)", 1),
        (r"num_nextn_predict_layers|num_mtp_layers", 0),
        (r"decoder_sparse_step|interleave_moe_layer_step", 2),
        (r"num_layers_per_stack", 1),
        # Heads
        (r"mamba_(num|n)_heads", 8),
        # With few heads, scores of exactly 0 tie, and top-k breaks ties at will; real ones have many.
        (r"index(er)?_n_heads", 16),
        (r"(swa_)?num_(key_value|kv)_heads|num_kv_heads|num_query_groups", 2),
        (r"(\w+_)?(n_heads?|num_heads?|attention_heads)|num_attention_heads", HEADS),
        (r"linear_num_key_heads", HEADS // 2),
        (r"linear_num_value_heads", HEADS),
        (r"qk_(rope|nope)_head_dim|rotary_dim", HEAD // 2),
        (r"(\w+_)?(head_dim|d_head|dim_head|head_size|headdim|kv_channels)|v_head_dim|d_head", HEAD),
        (r"(q|kv|o)_lora_rank|\w*_rank|hc_lowrank", 16),
        (r"query_pre_attn_scalar", HEAD),
        # Widths
        (
            r"(attention_)?hidden_size(_global)?|d_model|n_embd|emb_dim|embed(ding)?_dim|word_embed_proj_dim|lru_width",
            WIDTH,
        ),
        (r"(input_|output_)?embedding_size|(pronunciation|shape)_embed_dim|backbone_hidden_size", WIDTH),
        (r"hidden_size_per_layer_input|ple_embed_dim|router_hidden_size|prompt_mid_dim", 16),
        (
            r"\w*(intermediate_size|ffn_dim|ffn_hidden_size|feed_forward_size|hidden_dim|latent_size)(_mlp)?",
            _INNER,
        ),
        (r"n_inner|dff|dim_ff|d_inner|intermediate_multiple_size", _INNER),
        # Experts
        (r"(n|num|moe_num)_(routed_|local_)?experts", 4),
        (r"zero_expert_num", 2),
        (r"num_experts_per_tok(en)?|moe_(topk|k|top_k)|top_k_experts", 2),
        (r"(n|num|moe_num)_shared_experts", 1),
        (r"n_group|num_expert_group|topk_group", 2),
        # Lengths
        (
            r"max_position_embeddings|n_positions|n_ctx|max_seq_len|\w*max_\w*positions|context_length|model_max_length",
            CONTEXT,
        ),
        (r"original_max_position_embeddings|floor_scale|log_scaling_n_floor", 16),
        (
            r"(\w+_)?(sliding_window|window_size|attention_window|window_len)(_size)?|(\w+_)?chunk_(size|length)|local_attention",
            WINDOW,
        ),
        (r"(\w+_)?block_size", WINDOW),
        (r"\w*index_topk|indexer_budget", WINDOW),
        # State spaces and short convolutions
        (r"(\w+_)?(d_state|state_size)", 8),
        (r"(\w+_)?(n_groups|ngroups)", 2),
        (r"(mamba_)?(dt_rank|time_step_rank)", 4),
    )
]

# What a configuration carries for its keepers, not for its shape.
_OTHERS = re.compile(
    r"_.*|architectures|transformers_version|model_type|torch_dtype|dtype|id2label|label2id|num_labels|problem_type"
    r"|return_dict|output_\w+|chunk_size_feed_forward|is_encoder_decoder|finetuning_task|task_specific_params"
    r"|quantization_config|tie_encoder_decoder|use_bfloat16|pruned_heads"
)


def shrunk(config: Any) -> dict[str, Any]:
    """Settings for the same configuration class that make it tiny.

    Args:
        config: a configuration of transformers with its default settings.
    """
    if getattr(config, "use_sliding_window", None) is False:
        config = type(config)(use_sliding_window=True)  # off by default, and the harder case
    given: dict[str, Any] = {}
    lists: dict[str, list[Any]] = {}
    depth = _depth(config)
    plain = config.to_dict()
    if plain.get("use_sliding_window"):
        given["use_sliding_window"] = True
    for key in sorted(_settable(config) & plain.keys()):
        if _OTHERS.fullmatch(key):
            continue
        value = _value(config, key, plain)
        if hasattr(value, "to_dict"):
            given[key] = type(value)(**shrunk(value))
        elif isinstance(value, dict):
            given[key] = _in_dict(value)
        elif isinstance(value, list) and depth > 1 and len(value) == depth:
            lists[key] = value
        elif isinstance(value, int) and not isinstance(value, bool):
            new = small(key, value)
            if new != value:
                given[key] = new
    if plain.get("kv_lora_rank") and plain.get("num_key_value_heads"):
        given["num_key_value_heads"] = HEADS  # keys expanded from a latent serve one query head each
    if plain.get("is_decoder") is False:
        given["is_decoder"] = True  # an encoder unless told
    if lists:
        kept = _one_of_each(list(lists.values()))
        given |= {key: [value[at] for at in kept] for key, value in lists.items()}
        given |= {key: len(kept) for key in plain if _is_depth(key, config)}
    return given


def _settable(config: Any) -> set[str]:
    """What the class takes; what it derives from that is left to it."""
    taken: set[str] = set()
    for parent in type(config).__mro__:
        taken |= set(inspect.signature(parent.__init__).parameters) if parent is not object else set()
    aliases: dict[str, str] = type(config).attribute_map
    return {aliases.get(name, name) for name in taken}


def _value(config: Any, key: str, plain: dict[str, Any]) -> Any:
    try:
        return getattr(config, key, None)
    except AttributeError:
        raise
    except Exception:  # a setting that differs between layers may not be asked for as one
        return plain[key]


def small(key: str, value: int) -> int:
    """The small value of one setting: never more than it was."""
    for pattern, new in _RULES:
        if pattern.fullmatch(key):
            if key.endswith(("_id", "_index")):
                return new
            return min(new, value) if value > 0 else value
    return value


def _in_dict(value: dict[Any, Any]) -> dict[Any, Any]:
    """Nested settings, such as those of rotary embeddings per kind of layer."""
    new: dict[Any, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, dict):
            new[key] = _in_dict(inner)
        elif isinstance(inner, int) and not isinstance(inner, bool) and isinstance(key, str):
            new[key] = small(key, inner)
        else:
            new[key] = inner
    return new


def _depth(config: Any) -> int:
    depth = getattr(config, "num_hidden_layers", None)
    return depth if isinstance(depth, int) else 0


def _is_depth(key: str, config: Any) -> bool:
    return config.attribute_map.get("num_hidden_layers", "num_hidden_layers") == key


def _one_of_each(lists: list[list[Any]]) -> list[int]:
    """The first layer of each kind; two layers at least."""
    first: dict[str, int] = {}
    for at, kind in enumerate(zip(*lists, strict=True)):
        first.setdefault(repr(kind), at)
    kept = sorted(first.values())[:_KINDS]
    return kept if len(kept) >= _LAYERS else list(range(_LAYERS))
