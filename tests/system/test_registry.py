"""Entries under a contract: what is refused, and in which words."""

import copy
import dataclasses
import pickle
from collections.abc import Callable

import pytest

from arm_jax.system.errors import InputError
from arm_jax.system.registry import Entry, Registry


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape(Entry):
    corners: int
    area: Callable[[float], float]
    name: str = ""


SQUARE = Shape(corners=4, area=abs)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"corners": 3}, r"Shape\(corners\) lacks area; its parts are corners, area, name, see "),
        ({"corners": 3, "area": abs, "aria": abs}, "has no aria; its parts are corners, area"),
        ({"corners": 3, "area": 2.0}, "cannot call its area"),
    ],
)
def test_an_entry_that_breaks_its_contract_is_refused_in_one_line(parts, words):
    with pytest.raises(InputError, match=words) as error:
        Shape(**parts)
    assert "\n" not in str(error.value)


def test_a_registry_lists_its_names_and_takes_entries_of_its_contract_only():
    shapes = Registry("shape", Shape, square=SQUARE)
    with pytest.raises(InputError, match=r"^shape 'circle' is not known; choose one of square$"):
        shapes["circle"]
    with pytest.raises(InputError, match=r"shape 'circle' is a float; it must be a .*Shape"):
        shapes["circle"] = 1.0
    shapes["circle"] = Shape(corners=0, area=lambda radius: 3.14 * radius**2)
    assert list(shapes) == ["square", "circle"] and shapes["circle"].area(1.0) == 3.14


def test_entries_are_copied_and_pickled_as_they_are():
    for other in (copy.deepcopy(SQUARE), pickle.loads(pickle.dumps(SQUARE))):
        assert other == SQUARE
    assert dataclasses.replace(SQUARE, corners=5).corners == 5
