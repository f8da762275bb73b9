"""One command for everything: `arm-jax train --config cityscapes_coarse:arm`, `arm-jax check ...`.

The modes are those of `python -m arm_jax.main`, the tools the files of scripts/. `arm-jax COMMAND
--help` lists a command's options. Without a command it is `python -m arm_jax.main`.
"""

import runpy
import sys
from collections.abc import Sequence

from arm_jax import main
from arm_jax.system import shipped
from arm_jax.version import __version__

# A command and the file of scripts/ that it runs, with its line of help.
TOOLS = {
    "check": ("check_dataset", "open every file of a data set and report what is wrong with it"),
    "coarsen": ("coarsen", "simulate coarse labels from fine ones"),
    "prepare": ("prepare", "write a data set as ArrayRecord files"),
    "apply-review": ("apply_review", "write labels with the decisions on a review"),
    "export": ("export", "write a trained network as safetensors, StableHLO or ONNX"),
    "push": ("push", "publish a trained network at the Hugging Face Hub, with a model card"),
    "compare": ("compare", "train several rows over several seeds, and compare them"),
    "summarize": ("summarize", "parameters and operations of a network, part by part"),
}
HELP = {
    "train": "train to the last step, from the newest checkpoint if there is one",
    "evaluate": "score a trained run on a labelled split",
    "predict": "label images with a trained run",
    "report": "draw a run's curves and images",
    "review": "find labels that a trained run contradicts, worst first, as a page to decide on",
    "relabel": "write what a trained run believes of its labels beside them",
    "server": "write the files for a benchmark's server",
    "show": "print the settings, or what a config changes",
}


def console(argv: Sequence[str] | None = None) -> None:
    """Run one command; exit statuses are those of `main.console` and of the script.

    Args:
      argv: the arguments behind the program's name; None for the process's own.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments else "--help"
    if command == "--version":
        print(f"arm_jax {__version__}")
    elif command in HELP:
        run_main([f"--mode={command}", *arguments[1:]])
    elif command in TOOLS:
        file = shipped.folder("scripts") / f"{TOOLS[command][0]}.py"
        sys.argv = [str(file), *arguments[1:]]
        sys.path.insert(0, str(file.parent))  # as `python scripts/x.py` has it
        runpy.run_path(str(file), run_name="__main__")
    elif command in ("-h", "--help", "help"):
        print(usage())
    elif command.startswith("-"):
        run_main(arguments)
    else:
        known = ", ".join([*HELP, *TOOLS])
        print(f"arm_jax: no command {command!r}; there are {known}", file=sys.stderr)
        sys.exit(2)


def run_main(arguments: Sequence[str]) -> None:
    sys.argv = [sys.argv[0], *arguments]
    main.console()


def usage() -> str:
    rows = [*HELP.items(), *((name, words) for name, (_, words) in TOOLS.items())]
    lines = [f"  {name:<14}{words}" for name, words in rows]
    return "\n".join(["usage: arm-jax COMMAND [options], where COMMAND is", *lines])
