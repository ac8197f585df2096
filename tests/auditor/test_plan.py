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


def test_a_long_sequence_is_sampled_near_its_periods():
    plan = make_plan(Subject(honest(sliding_window=50, max_position_embeddings=9000)), length=400)
    assert not plan.complete
    assert {1, 49, 50, 51, 99, 100, 101, 399} <= set(plan.cuts)
    assert "tried were the ends, near every period" in plan.notes[0]


def test_learned_positions_end():
    assert make_plan(Subject(honest(positions="learned", max_position_embeddings=20))).length == 20
