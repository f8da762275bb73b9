"""Lines of the log: what is read back is what was written."""

from arm_jax.training.records import EvaluationLine, StepLine, as_json, parsed


def test_lines_come_back_whole_and_leave_out_what_a_run_does_not_have():
    base = StepLine(10, 0.5, 0.4, 0.3, 0.9, 0, 0.02)
    with_arm = base._replace(holder_ratio=0.97, loss_ratio=1.5)
    scores = EvaluationLine(10, 30.0, 40.0, 50.0)
    assert list(as_json(base)) == list(StepLine._fields[:7])
    for line in (base, with_arm, scores):
        assert parsed(as_json(line)) == line and type(parsed(as_json(line))) is type(line)


def test_what_is_no_line_is_not_guessed_at():
    for record in (
        {"step": 3},
        {"step": 3, "loss": 1.0},
        {**as_json(EvaluationLine(1, 2, 3, 4)), "x": 1},
    ):
        assert parsed(record) is None
