"""What the tests of refusals share."""

from collections.abc import Callable
from typing import Any

import pytest

from arm_jax.system.errors import InputError


def refusal(function: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """The one line of the InputError that a call raises."""
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
