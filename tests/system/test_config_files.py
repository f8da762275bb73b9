"""Config files that cannot be executed, and flags of processes: one line, before JAX starts."""

import subprocess
import sys
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from arm_jax import settings
from arm_jax.run import configs
from arm_jax.system import clusters, config_files, coordinator, sharding
from arm_jax.system.errors import InputError

ROOT = Path(__file__).parents[2]
BASE = "from configs import base\n\n\ndef get_config(argument=None):\n"

BAD = {
    "a syntax error": ("def get_config(:\n", r"x\.py, line 1: invalid syntax; correct the file"),
    "an indentation": (BASE, r"x\.py, line 4: expected an indented block"),
    "an unknown name": (
        BASE + "    return bose.get_config()\n",
        r"line 5: NameError: .*bose",
    ),
    "an error at the top": ("x = 1\nraise RuntimeError('no')\n", r"line 2: RuntimeError: no$"),
    "an error without words": ("assert False\n", r"line 1: AssertionError: no message$"),
    "several lines of words": ("raise OSError('a\\nb')\n", r"line 1: OSError: a\\nb$"),
    "exit": ("import sys\nsys.exit(0)\n", r"line 2: calls exit\(\); a config only returns"),
    "exit in get_config": (BASE + "    exit()\n", r"line 5: calls exit\(\)"),
    "an import": ("import numpi\n", r"line 1: No module named 'numpi'; install it, or correct"),
    "a name to import": ("from arm_jax import nothing\n", r"line 1: .*nothing.*; install it, or"),
    "no function": ("steps = 3\n", r"x\.py defines no get_config\(\)"),
    "no config": ("def get_config():\n    return {}\n", r"returns dict and no ConfigDict"),
    "a number": ("get_config = 3\n", r"defines no get_config"),
    "an unknown key": (BASE + "    c = base.get_config()\n    c.setps = 3\n", r"line 6: .*setps"),
    "recursion": ("def f():\n    f()\nf()\n", r"line 2: RecursionError"),
    "no text": (b"\x7fELF\x02\x01\0\0\0\xff\xfe", r"x\.py.*(null bytes|utf-8)"),
    "Latin letters": ("name = 'stra\xdfe'\n".encode("latin1"), r"x\.py.*utf-8"),
    "nothing": ("", r"defines no get_config"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_config_that_cannot_be_executed_is_one_line(tmp_path, kind):
    text, words = BAD[kind]
    path = tmp_path / "some" / "x.py"
    path.parent.mkdir()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=words) as caught:
        config_files.load(str(path))
    message = str(caught.value)
    assert message.startswith(f"--config={path}: ") and "\n" not in message


def test_half_a_config_is_refused_with_the_first_key_that_it_lacks(tmp_path):
    path = tmp_path / "x.py"
    path.write_text(
        "from ml_collections import ConfigDict\n\n\n"
        "def get_config():\n    return ConfigDict({'seed': 1})\n"
    )
    with pytest.raises(InputError, match=r"config has no steps; begin it with base\.get_config"):
        configs.load(str(path))


def test_a_config_in_any_folder_begins_with_the_base_of_the_checkout(tmp_path):
    path = tmp_path / "mine" / "x.py"
    path.parent.mkdir()
    body = "    c = base.get_config()\n    c.steps = 7\n    return base.apply_rows(c, argument)\n"
    path.write_text(BASE + body)
    config = config_files.load(f"{path}:linear")
    assert isinstance(config, ConfigDict) and config.is_locked
    assert (config.steps, config.arm.kind) == (7, "linear")
    assert settings.frozen(config).steps == 7


def test_what_is_not_there_is_answered_with_what_is(tmp_path):
    with pytest.raises(InputError, match=r"gird\.py: no such file; did you mean .*grid\.py\?$"):
        config_files.load(str(ROOT / "configs" / "gird.py"))
    with pytest.raises(InputError, match=r"no such file; .*configs has ade20k\.py, base\.py, "):
        config_files.load(str(ROOT / "configs" / "xyzzy.py"))
    with pytest.raises(InputError, match="no such file, nor is there a folder"):
        config_files.load(str(tmp_path / "none" / "x.py"))
    with pytest.raises(InputError, match="is a folder and not a file"):
        config_files.load(str(tmp_path))


def test_ctrl_c_in_a_config_is_not_its_mistake(tmp_path):
    (tmp_path / "x.py").write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        config_files.load(str(tmp_path / "x.py"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((None, 2, 0), "need --coordinator"),
        ((None, None, 0), "need --coordinator"),
        (("host:1", None, 0), "needs --processes and --process"),
        (("host:1", 2, 2), "needs --processes and --process"),
        (("host:1", 2, -1), "needs --processes and --process"),
        (("host", 2, 0), r"--coordinator=host must be host:port of the first process, such as"),
        (("host:", 2, 0), "must be host:port"),
        (("host:99999", 2, 0), "must be host:port"),
        (("http://host:80", 2, 0), "must be host:port"),
        (("", 2, 0), "must be host:port"),
        (("auto", 2, 0), "leave them out"),
    ],
)
def test_flags_of_processes_that_do_not_go_together_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        coordinator.group(*arguments)


def test_flags_of_processes_that_do():
    assert coordinator.group(None, None, None) is None
    assert coordinator.group("[::1]:80", 2, 1) == coordinator.Group("[::1]:80", 2, 1)


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (
            coordinator.Group(cluster=clusters.Cluster("SLURM (job 7)", "slurm")),
            r"=auto: SLURM \(job 7\) started this process, but it cannot join .*\(no way\)",
        ),
        (coordinator.Group("host:1", 2, 1), r"host:1: process 1 of 2 cannot join \(no way\)"),
    ],
)
def test_a_group_that_cannot_be_joined_is_one_line(monkeypatch, group, words):
    def fail(*arguments, **options):
        raise RuntimeError("no\nway")

    monkeypatch.setattr(sharding.jax.distributed, "initialize", fail)
    with pytest.raises(InputError, match=words):
        sharding.initialize(group)


def test_these_refusals_need_no_jax(tmp_path):
    (tmp_path / "x.py").write_text("exit()\n")
    code = f"""
import sys
from arm_jax import main
sys.argv = ["main", "--workdir={tmp_path}/run", "--config={tmp_path}/x.py"]
try:
    main.console()
except SystemExit as error:
    assert error.code == 2, error.code
assert "jax" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1 and "line 1: calls exit()" in done.stderr
    assert not (tmp_path / "run").exists()
