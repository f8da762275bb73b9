"""Iterators that group items into batches, and hand them on with a delay."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def grouped(
    items: Iterable[Item], key: Callable[[Item], Hashable], size: int, most: int
) -> Iterator[list[Item]]:
    """Every item once, in lists of at most `size` items with equal keys.

    A list goes out when it is full, or, as the fullest one, when more than `most` items wait; the
    rest goes out at the end.
    """
    waiting: dict[Hashable, list[Item]] = {}
    for item in items:
        group = key(item)
        waiting.setdefault(group, []).append(item)
        if len(waiting[group]) == size:
            yield waiting.pop(group)
        elif sum(map(len, waiting.values())) > most:
            yield waiting.pop(max(waiting, key=lambda one: len(waiting[one])))
    yield from waiting.values()


def delayed(items: Iterable[Item], number: int) -> Iterator[Item]:
    """Every item, but each only after the next `number` items were made.

    An item may stand for work in progress on the devices: waiting for it then does not keep them
    from the next ones.
    """
    waiting: deque[Item] = deque()
    for item in items:
        waiting.append(item)
        if len(waiting) > number:
            yield waiting.popleft()
    yield from waiting
