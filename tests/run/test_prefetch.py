"""Prefetching: nothing lost, positions of what was consumed, honest waiting times."""

import itertools
import time

import pytest

from arm_jax.run.prefetch import Prefetcher


class Counter:
    """An endless pipeline of numbers with Grain's interface; may be slow or fail."""

    def __init__(self, delay: float = 0.0, fail_at: int | None = None):
        self.next_index, self.delay, self.fail_at = 0, delay, fail_at

    def __iter__(self):
        return self

    def __next__(self):
        time.sleep(self.delay)
        if self.next_index == self.fail_at:
            raise OSError("image 3 is truncated")
        self.next_index += 1
        return self.next_index - 1

    def get_state(self):
        return {"next_index": self.next_index}


def test_batches_come_in_order_with_the_position_after_each():
    prefetcher = Prefetcher(Counter(), lambda x: 10 * x, depth=3)
    for i in range(20):
        assert prefetcher.next() == (10 * i, {"next_index": i + 1})
    prefetcher.close()


def test_an_error_of_the_pipeline_reaches_the_loop_after_the_good_batches():
    prefetcher = Prefetcher(Counter(fail_at=2), lambda x: x)
    assert [prefetcher.next()[0] for _ in range(2)] == [0, 1]
    with pytest.raises(OSError, match="image 3 is truncated"):
        prefetcher.next()
    prefetcher.close()


def test_a_pipeline_that_ends_is_an_error_and_not_a_hang():
    class Short(Counter):
        def __next__(self):
            if self.next_index == 2:
                raise StopIteration
            return super().__next__()

    prefetcher = Prefetcher(Short(), lambda x: x)
    with pytest.raises(RuntimeError, match="ended"):
        for _ in itertools.repeat(None, 5):
            prefetcher.next()
    prefetcher.close()


def test_waiting_is_counted_only_when_there_is_nothing_to_do():
    slow = Prefetcher(Counter(delay=0.05), lambda x: x)
    for _ in range(4):
        slow.next()
    slow.close()
    assert slow.waited > 0.1
    fast = Prefetcher(Counter(), lambda x: x)
    time.sleep(0.2)
    for _ in range(4):
        fast.next()
        time.sleep(0.02)
    fast.close()
    assert fast.waited < 0.02
