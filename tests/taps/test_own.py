"""BLOOM and MPT: what they would do differently is refused by name."""

import pytest
import torch

from lookbehind.errors import RecordError
from lookbehind.recorder import record
from tests.tiny_models import ids, tiny


@pytest.mark.parametrize(("name", "where"), [("bloom", "transformer.h.0"), ("mpt", "transformer.blocks.0")])
def test_dropout_is_refused(name, where):
    model = tiny(name).train()
    for block in model.modules():
        if hasattr(block, "attention_dropout"):
            block.attention_dropout.p = 0.3
        if hasattr(block, "attn_dropout_p"):
            block.attn_dropout_p = 0.3
    with record(model), pytest.raises(RecordError, match=rf"{where}\..*: attention dropout 0\.3 is active"):
        model(ids(4))


def test_a_prompt_of_one_token_learns_its_slopes_from_the_next():
    model = tiny("bloom")
    with torch.no_grad(), record(model) as recorder:
        one = model(ids(1), use_cache=True)
        assert recorder.tape().layer(0).alibi.tolist() == [0, 0, 0, 0]
        model(ids(1, seed=4), past_key_values=one.past_key_values)
    assert recorder.tape().layer(0).alibi.tolist() == [2**-2, 2**-4, 2**-6, 2**-8]


def test_a_bias_rounded_to_half_precision_is_refused_where_it_is_no_longer_linear():
    model = tiny("bloom", dtype=torch.bfloat16)
    with torch.no_grad(), record(model) as recorder:
        model(ids(100))
    assert recorder.tape().layer(0).alibi.tolist() == [2**-2, 2**-4, 2**-6, 2**-8]
    said = r"self_attention: its bias is not slope \* key .* load the model in float32"
    with torch.no_grad(), record(model), pytest.raises(RecordError, match=said):
        model(ids(300))


def test_another_beta_is_refused():
    model = tiny("bloom")
    model.transformer.h[1].self_attention.beta = 0.5
    with torch.no_grad(), record(model), pytest.raises(RecordError, match=r"h\.1\..*scaled by beta 0\.5"):
        model(ids(4))
