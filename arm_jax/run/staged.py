"""The addresses among the settings, checked and then staged before anything takes long."""

import numpy as np
from ml_collections import FrozenConfigDict

from arm_jax.run import inputs
from arm_jax.system import processes
from arm_jax.system.errors import InputError
from arm_jax.system.staging import stage


def bring(config: FrozenConfigDict, mode: str) -> None:
    """Stage what a mode reads; every process of a run must call this, and all go on together.

    The processes of a machine share its cache, and those of other machines are waited for however
    long their network takes.

    Raises:
      InputError: in every process, for an address that cannot be read or staged in one of them.
        All are checked before the first is staged.
    """
    found = inputs.addresses_of(config, mode)
    if not found:
        return
    error = None
    cache = inputs.cache(config)
    try:
        for address, (title, single) in found.items():
            stage.check(address, title, single=single)
        for address, (title, single) in found.items():
            stage.local(address, title, cache, single=single)
    except InputError as mistake:
        error = mistake
    processes.wait("staged")
    processes.total(np.zeros(1, np.int64), error)
