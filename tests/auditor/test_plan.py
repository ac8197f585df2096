import transformers

from lookbehind.auditor.plan import make_plan
from lookbehind.auditor.subject import Subject
from tests.auditor.models import honest


def test_the_length_exceeds_every_period():
    plan = make_plan(Subject(honest(sliding_window=24, original_max_position_embeddings=40)))
    assert plan.periods == {"sliding_window": 24, "original_max_position_embeddings": 40}
    assert (plan.length, plan.complete) == (83, True)
    assert make_plan(Subject(honest())).length == 24


def test_what_cannot_be_crossed_is_said():
    plan = make_plan(Subject(honest(sliding_window=4096, max_position_embeddings=9000)))
    assert plan.length == 24
    assert plan.notes == [
        "sliding_window=4096, not crossed at n = 24: give a length of 4104, or shrink it in the config"
    ]


def test_a_length_below_which_no_keys_are_selected_is_one_to_cross():
    model = honest(max_position_embeddings=9000)
    model.config.index_topk = 26
    assert make_plan(Subject(model)).length == 55
    model.config.index_topk = 2048
    (note,) = make_plan(Subject(model)).notes
    assert note.startswith("index_topk=2048, not crossed at n = 24: give a length of 2056")


def test_no_length_is_advised_that_the_model_has_no_positions_for():
    (note,) = make_plan(Subject(honest(sliding_window=100, max_position_embeddings=100))).notes
    assert note == "sliding_window=100, not crossed at n = 100: shrink it in the config"


def test_a_long_sequence_is_sampled_near_its_periods():
    plan = make_plan(Subject(honest(sliding_window=50, max_position_embeddings=9000)), length=400)
    assert not plan.complete
    assert {1, 49, 50, 51, 99, 100, 101, 399} <= set(plan.cuts)
    assert "tried were the ends, near every period" in plan.notes[0]


def test_learned_positions_end():
    assert make_plan(Subject(honest(positions="learned", max_position_embeddings=20))).length == 20


def test_frequencies_scaled_by_the_length_are_crossed_where_their_scaling_begins():
    given = {"vocab_size": 31, "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 100.0}

    def planned(**more):
        config = transformers.LlamaConfig(**given, num_hidden_layers=1, rope_parameters=dynamic, **more)
        return make_plan(Subject(transformers.LlamaForCausalLM(config)))

    short = planned(max_position_embeddings=32)
    assert (short.periods, short.length) == ({"max_position_embeddings": 32}, 67)
    (note,) = planned(max_position_embeddings=2048).notes
    assert note.startswith("max_position_embeddings=2048, not crossed at n = 24: give a length of 2056")


def test_what_is_said_of_kinds_of_layers_counts():
    model = honest()
    model.config.rope_parameters = {"full_attention": {"original_max_position_embeddings": 26}}
    assert make_plan(Subject(model)).periods == {"original_max_position_embeddings": 26}
