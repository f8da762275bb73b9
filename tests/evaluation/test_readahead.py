"""Order, bounds and errors of the iterators that evaluation is made of."""

import threading

import pytest

from arm_jax.evaluation.readahead import ahead, delayed, grouped


def test_ahead_keeps_the_order_and_reads_no_further_than_allowed():
    asked = []

    def items():
        for number in range(20):
            asked.append(number)
            yield number

    stream = ahead(lambda x: x * x, items(), threads=3, number=4)
    assert next(stream) == 0
    assert len(asked) == 4
    assert list(stream) == [x * x for x in range(1, 20)]


def test_ahead_reads_in_several_threads():
    barrier = threading.Barrier(3, timeout=20)
    assert list(ahead(lambda x: barrier.wait() >= 0 and x, range(3), threads=3, number=3)) == [
        0,
        1,
        2,
    ]


def test_ahead_raises_an_error_when_its_turn_comes():
    stream = ahead(lambda x: 6 // (x - 2), range(5), threads=2, number=5)
    assert next(stream) == -3
    assert next(stream) == -6
    with pytest.raises(ZeroDivisionError):
        next(stream)


def test_grouped_keeps_every_item_and_never_mixes_keys():
    lists = list(grouped("aabacbbbcd", str, size=2, most=100))
    assert sorted(item for one in lists for item in one) == sorted("aabacbbbcd")
    assert all(len(set(one)) == 1 and len(one) <= 2 for one in lists)
    assert lists[0] == ["a", "a"]


def test_grouped_sends_the_fullest_list_when_too_many_wait():
    assert next(grouped("abbcdef", str, size=3, most=3)) == ["b", "b"]


def test_delayed_stays_behind():
    made = []

    def items():
        for number in range(5):
            made.append(number)
            yield number

    stream = delayed(items(), 2)
    assert next(stream) == 0
    assert made == [0, 1, 2]
    assert list(stream) == [1, 2, 3, 4]
