"""Lines and the live line: on a terminal it follows, in a file it leaves nothing."""

import io
import sys

import pytest

from arm_jax.system import terminal


class Screen(io.StringIO):
    """What a stream was given, as a terminal or as a file."""

    def __init__(self, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_live_line_is_for_terminals_alone(monkeypatch, is_terminal):
    screen = Screen(is_terminal)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    line = terminal.LiveLine("train", 100, "step")
    for step in (5, 6, 50):
        line.show(step)
        terminal.say(f"log of {step}")
    line.close()
    text = screen.getvalue()
    if not is_terminal:
        assert text == "log of 5\nlog of 6\nlog of 50\n"
        return
    assert "50/100" in text and "train" in text
    # What a screen shows in the end: the lines, with nothing of the live one before or behind.
    shown = [line.rpartition("\r")[2].rstrip() for line in text.split("\n")]
    assert shown == ["log of 5", "log of 6", "log of 50", ""]
