"""Iterators that read ahead in threads, group into batches, and hand on with a delay."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")


def ahead(
    read: Callable[[Item], Read], items: Iterable[Item], *, threads: int, number: int
) -> Iterator[Read]:
    """`read` of each item, in order, with at most `number` read or under way at a time.

    What `read` raises is raised here, when its turn comes. Decoding and resizing of images release
    Python's lock, so threads do.
    """
    under_way: deque[Future[Read]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                under_way.append(pool.submit(read, item))
                if len(under_way) >= number:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()


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

    What an item stands for may be under way on the devices; whoever waits for it then does not
    keep them from the next ones.
    """
    waiting: deque[Item] = deque()
    for item in items:
        waiting.append(item)
        if len(waiting) > number:
            yield waiting.popleft()
    yield from waiting
