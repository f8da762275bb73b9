"""A few hundred damaged files; `python tests/mutations.py` tries as many as there is time for."""

import pytest
from mutations import fault, trials


@pytest.mark.parametrize(
    ("kind", "number"),
    [("images", 64), ("polygons", 60), ("labels", 90), ("weights", 64), ("zips", 20)],
)
def test_a_damaged_file_is_read_or_refused_in_one_line(kind, number, tmp_path):
    answers = []
    for trial in trials(kind, number, seed=1):
        wrong, refused = fault(trial, tmp_path)
        assert not wrong, f"{trial.title}: {wrong}"
        answers.append(refused)
    assert any(answers) and not all(answers)  # damage is found, and not everything is called damage
