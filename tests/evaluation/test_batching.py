"""Order and bounds of the iterators that evaluation is made of."""

from arm_jax.evaluation.batching import delayed, grouped


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
