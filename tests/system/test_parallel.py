"""Order, bounds and errors of the map over several threads or processes."""

import operator
import threading

import pytest

from arm_jax.system.parallel import ordered


def test_ordered_keeps_the_order_and_reads_no_further_than_allowed():
    asked = []

    def items():
        for number in range(20):
            asked.append(number)
            yield number

    stream = ordered(lambda x: x * x, items(), 3, threads=True, ahead=4)
    assert next(stream) == 0
    assert len(asked) == 4
    assert list(stream) == [x * x for x in range(1, 20)]


def test_ordered_reads_in_several_threads():
    barrier = threading.Barrier(3, timeout=20)
    found = ordered(lambda x: barrier.wait() >= 0 and x, range(3), 3, threads=True, ahead=3)
    assert list(found) == [0, 1, 2]


def test_ordered_raises_an_error_when_its_turn_comes():
    stream = ordered(lambda x: 6 // (x - 2), range(5), 2, threads=True, ahead=5)
    assert next(stream) == -3
    assert next(stream) == -6
    with pytest.raises(ZeroDivisionError):
        next(stream)


@pytest.mark.parametrize("workers", [0, 2])
def test_ordered_by_processes_or_none_equals_map(workers):
    assert list(ordered(operator.neg, range(20), workers)) == [-x for x in range(20)]
