"""Publish a trained network at the Hugging Face Hub, with a model card.

    python scripts/push.py --workdir runs/NAME --checkpoint best --to OWNER/NAME --license mit

The repository, made where there is none, gets model.safetensors, config.json without this machine's
paths, classes.json, and README.md: classes, training data, settings, scores with what they were
measured on, how to load it. `arm_jax.load("hf://OWNER/NAME")` loads it. The token is that of
HF_TOKEN or `hf auth login`. With --output the files are written into a folder, and nothing is sent.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

from arm_jax.run import arguments as shared
from arm_jax.run import repositories
from arm_jax.system import command_line, outputs


@command_line.answered
def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.Parser(__doc__)
    shared.add_run(parser)
    parser.add_argument("--to", required=True, metavar="OWNER/NAME", help="the repository")
    parser.add_argument(
        "--license", required=True, help="of the weights, by the Hub's name, such as apache-2.0"
    )
    parser.add_argument("--data", default="", help="a sentence on the training data, for the card")
    parser.add_argument("--private", action="store_true", help="of a new repository")
    parser.add_argument("--output", type=Path, help="write the files there, and send nothing")
    arguments, overrides = command_line.parse(parser, argv)
    repositories.check(arguments.to, arguments.license)
    if arguments.output is None:
        repositories.reached(arguments.to)
    else:
        shared.config_of(arguments, overrides)  # before anything is written
        outputs.claim(arguments.output, "a network to publish")
    run = shared.run_of(arguments, overrides)
    from arm_jax.run import hub  # JAX with it

    if arguments.output is not None:
        hub.write(run, arguments.output, arguments.to, arguments.license, arguments.data)
        print(f"wrote {arguments.output}")
        return 0
    done = hub.push(run, arguments.to, arguments.license, arguments.data, arguments.private)
    print(f'published {done}; arm_jax.load("hf://{arguments.to}") loads it')
    return 0


if __name__ == "__main__":
    sys.exit(main())
