"""The campaign's own judgement: what breaks the rule, what differs, and where it goes on."""

import pytest

from tests.campaign import ends, rule, texts
from tests.campaign.processes import Ended
from tests.campaign.record import Record, Verdict
from tests.campaign.world import numbered

LINE = "arm_jax: data/a.png is no image; replace it\n"


def ended(status=0, out="", err="", **other):
    return Ended(status, out, err, **{"seconds": 1, "cpu_seconds": 1, "megabytes": 9} | other)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ended(), ""),
        (ended(2, err=LINE), ""),
        (ended(2, err="skipped: a.png\n" + LINE), ""),
        (ended(1, err=LINE), "status 1"),
        (ended(-9), "status -9"),
        (ended(2, err=LINE * 2), "2 lines"),
        (ended(2), "0 lines"),
        (ended(0, err=LINE), "1 lines"),
        (ended(2, err="usage: of something else\n"), "not ours"),
        (ended(2, err="error: no\n"), "a line of 9"),
        (ended(2, err=LINE + "Traceback (most recent call last):\n"), "Traceback"),
        (ended(0, out="Exception ignored in: x"), "Exception ignored"),
        (ended(2, err=LINE, cpu_seconds=99), "99 s"),
        (ended(0, megabytes=9000), "9,000 MB"),
        (ended(0, left=(7,)), "(7,)"),
    ],
)
def test_answers_that_keep_the_rule_and_that_break_it(answer, words):
    found = rule.broken(answer, (0, 2))
    assert (words in found) if words else not found, found


def test_what_differs_is_named_and_other_steps_only_where_they_may_be_missing():
    whole = {"a": "1", "checkpoint 4 x": "2", "checkpoint 8 x": "3"}
    assert not ends.differ(whole, dict(whole))
    assert "differ, first a" in ends.differ(whole, {**whole, "a": "9"})
    other = {"a": "1", "checkpoint 6 x": "5", "checkpoint 8 x": "3"}
    assert "missing, first checkpoint 4 x" in ends.differ(whole, other)
    assert not ends.differ(whole, other, all_steps=False)
    assert ends.differ(whole, {**other, "checkpoint 8 x": "0"}, all_steps=False)


def test_given_files_are_compared_and_what_lies_outside_is_named(tmp_path):
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "a").write_text("1")
    given = ends.tree(tmp_path / "given")
    assert not rule.untouched(given, tmp_path / "given")
    (tmp_path / "given" / "b").write_text("2")
    assert "1 more" in rule.untouched(given, tmp_path / "given")
    assert rule.inside(tmp_path, "given") == ""
    assert rule.inside(tmp_path) == "outside of the output: given"


def test_a_campaign_goes_on_after_a_line_that_was_cut(tmp_path):
    path = tmp_path / "trials.jsonl"
    record = Record(path, seed=1)
    record.add("kills/0", Verdict("train", counts={"killed": 2}), 1.0)
    record.add("inputs/0", Verdict("predict", "a traceback"), 1.0)
    with open(path, "a") as file:
        file.write('{"trial": "kills/1", "se')
    again = Record(path, seed=1)
    again.add("kills/1", Verdict("train", counts={"killed": 1}), 1.0)
    again = Record(path, seed=1)
    assert set(again.done) == {"kills/0", "inputs/0", "kills/1"}
    assert again.broken() == ["inputs/0"]
    assert again.summary()[1] == "kills: 2 of 2 as promised (3 killed)"
    assert not Record(path, seed=2).done


def test_seed_kind_and_number_decide_what_is_chosen():
    drawn = [texts.override(numbered(0, "inputs", 3)) for _ in range(2)]
    assert drawn[0] == drawn[1] != texts.override(numbered(0, "inputs", 4))
