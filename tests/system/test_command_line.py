"""Mistakes in the arguments of a script are one line."""

import pytest

from arm_jax.system import command_line


def test_a_mistake_is_one_line_with_status_two(capsys):
    parser = command_line.Parser()
    parser.add_argument("--number", type=int)
    for arguments in (["--number=a\nb"], ["--number"], ["--no"], ["stray"]):
        with pytest.raises(SystemExit) as caught:
            parser.parse_args(arguments)
        printed = capsys.readouterr()
        assert caught.value.code == 2 and printed.out == ""
        assert printed.err.startswith("error: ") and printed.err.count("\n") == 1
    with pytest.raises(SystemExit):
        command_line.parse(parser, ["--unknown=3"])
    assert "unknown argument '--unknown=3'" in capsys.readouterr().err
