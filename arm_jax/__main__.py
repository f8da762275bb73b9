"""`python -m arm_jax COMMAND ...`; see `arm_jax.commands`."""

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

from arm_jax.commands import console

if __name__ == "__main__":
    console()
