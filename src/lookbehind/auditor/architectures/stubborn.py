"""Stubborn: the settings that no rule can guess, one entry an architecture, each with its reason."""

from __future__ import annotations

from typing import Any

from lookbehind.auditor.architectures.sizes import CONTEXT, HEAD, HEADS, WIDTH, WINDOW

_DERIVED_HEAD = {"head_dim": HEAD}  # the code reads head_dim, which the configuration leaves None
_ALTERNATING = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": WINDOW}
_ONE_CODEBOOK = {"num_codebooks": 1}  # several would take several rows of ids per text
_DENSE_THEN_SPARSE = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
}

SETTINGS: dict[str, dict[str, Any]] = {
    # A causal model only when told so.
    "XLMWithLMHeadModel": {"causal": True},
    "XLNetLMHeadModel": {"attn_type": "uni"},
    # No defaults for what every checkpoint sets.
    "DeepseekV2ForCausalLM": {"num_experts_per_tok": 2, "first_k_dense_replace": 1},
    "Dots1ForCausalLM": {**_DENSE_THEN_SPARSE, **_ALTERNATING},
    "HunYuanDenseV1ForCausalLM": _DERIVED_HEAD,
    "HunYuanMoEV1ForCausalLM": _DERIVED_HEAD,
    "MinistralForCausalLM": {**_DERIVED_HEAD, **_ALTERNATING},
    "NemotronForCausalLM": {"num_key_value_heads": 2},
    "Lfm2MoeForCausalLM": {
        "layer_types": ["conv", "full_attention", "conv", "full_attention"],
        "num_hidden_layers": 4,
        "num_dense_layers": 2,
    },
    "XmodForCausalLM": {"default_language": "en_XX"},
    "CohereCompassForCausalLM": {
        **_ALTERNATING,
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [3, 3, 2]},
            "full_attention": None,
        },
    },
    "DbrxForCausalLM": {"attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0}},
    "BltForCausalLM": {
        "encoder_hash_byte_group_vocab": 64,
        "num_hidden_layers": 2,  # its cache asks for the depth, which only its parts have
    },
    "Qwen4ExpForCausalLM": {
        "indexer_n_heads": 16,  # few heads: ties between keys
        "indexer_kv_heads": 1,
        "indexer_head_dim": HEAD,
        "indexer_budget": WINDOW,
        "indexer_compress_ratio": 2,
        "ple_layer_ids": [1],
        "eos_token_id": 2,
        "ngram_vocab_size_base": 50,
        "make_ngram_vocab_size_divisible_by": 8,
        "split_ngram_parts": 1,
    },
    # All layers alike unless told otherwise.
    "BambaForCausalLM": {"attn_layer_indices": [1]},
    "GraniteMoeHybridForCausalLM": {"layer_types": ["linear_attention", "full_attention"]},
    "DeepseekV4ForCausalLM": {
        "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 8}
    },
    "Gemma4ForCausalLM": {"per_layer_config": {1: {"head_dim": 2 * HEAD}}},
    "LagunaForCausalLM": {
        **_ALTERNATING,
        "num_attention_heads_per_layer": [4, 8],
        "mlp_layer_types": ["dense", "sparse"],
    },
    "Lfm2ForCausalLM": {"layer_types": ["conv", "full_attention"], "num_hidden_layers": 2},
    "MellumForCausalLM": _ALTERNATING,
    "MiniMaxM3VLForCausalLM": {
        "layer_types": ["full_attention", "minimax_m3_sparse"],
        "index_topk_blocks": 2,
    },
    "Qwen3MoeForCausalLM": {"mlp_only_layers": [0]},
    "ZayaForCausalLM": {"layer_types": ["hybrid", "hybrid_sliding"], "sliding_window": WINDOW},
    # Lists of layers by number, which only look like lists with an entry a layer.
    "Llama4ForCausalLM": {
        "layer_types": ["chunked_attention", "full_attention"],
        "no_rope_layers": [1, 0],
        "moe_layers": [1],
        "num_hidden_layers": 2,
    },
    # Sizes tied to one another by a rule of their own.
    "Gemma3nForCausalLM": {
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        "num_kv_shared_layers": 2,
        "intermediate_size": [48, 48, 48, 48],
        "activation_sparsity_pattern": [0.95, 0.0, 0.0, 0.0],
    },
    "Dots3NoteForCausalLM": {
        "swa_num_attention_heads": HEADS,
        "swa_num_key_value_heads": HEADS,
        "swa_q_lora_rank": 16,
        "swa_kv_lora_rank": 16,
        "swa_head_dim": HEAD,
        "swa_qk_nope_head_dim": HEAD // 2,
        "swa_v_head_dim": HEAD,
    },
    "GPTNeoForCausalLM": {"attention_types": [[["global", "local"], 1]]},
    "HrmTextForCausalLM": {"num_hidden_layers": 1, "num_layers_per_stack": None},
    "JambaForCausalLM": {"attn_layer_period": 2, "attn_layer_offset": 1, "num_hidden_layers": 4},
    "LongcatFlashForCausalLM": {"head_dim": HEAD // 2},  # of the rotary part
    "Mamba2ForCausalLM": {"num_heads": 8, "head_dim": HEAD},
    "MiniCPM3ForCausalLM": {"dim_model_base": WIDTH},  # logits are divided by the width over this
    "MusicgenForCausalLM": _ONE_CODEBOOK,
    "MusicgenMelodyForCausalLM": _ONE_CODEBOOK,
    "RecurrentGemmaForCausalLM": {"num_hidden_layers": 3},  # recurrent, recurrent, attention
    "ReformerModelWithLMHead": {
        "attn_layers": ["local", "lsh"],
        "axial_pos_shape": [8, CONTEXT // 8],
        "axial_pos_embds_dim": [WIDTH // 4, WIDTH * 3 // 4],
        "hash_seed": 0,  # hashes drawn anew in every forward otherwise
    },
    # Its heads share a multiple of 64.
    "xLSTMForCausalLM": {"hidden_size": 2 * WIDTH, "embedding_dim": 2 * WIDTH},
    "ZambaForCausalLM": {
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        "num_hidden_layers": 4,
        "attention_hidden_size": 2 * WIDTH,
        "attention_head_dim": 2 * WIDTH // HEADS,
    },
}

REASONS: dict[str, str] = {
    "Gemma4AssistantForCausalLM": "reads another model's keys and values instead of token ids",
    "Gemma4UnifiedAssistantForCausalLM": "reads another model's keys and values instead of token ids",
    "CsmDepthDecoderForCausalLM": "its positions are codebooks, and the first has no logits",
}
