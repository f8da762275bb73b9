"""Lines for the person at the terminal."""

import jax


def say(text: str) -> None:
    """Print a line once, whatever the number of processes."""
    if jax.process_index() == 0:
        print(text, flush=True)
