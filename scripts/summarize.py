"""Parameters and multiply-adds of a network: `python scripts/summarize.py deeplabv3plus_resnet101`.

The multiply-adds are for one image, from XLA's cost analysis. Without a name, lists the networks.
"""

import sys

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

import jax

from arm_jax.networks import ARCHITECTURES, BACKBONES, summary
from arm_jax.system import command_line


@command_line.answered
def main() -> int:
    parser = command_line.Parser(__doc__)
    parser.add_argument("name", nargs="?", help=f"one of: {', '.join(ARCHITECTURES)}")
    parser.add_argument("--num_classes", type=int, default=19)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), help="height and width")
    parser.add_argument("--output_stride", type=int, default=8, help="8, 16 or 32")
    parser.add_argument("--variant", help="of the backbone; default: the network's usual one")
    arguments = parser.parse_args()
    if arguments.name is None:
        for name, architecture in ARCHITECTURES.items():
            variants = BACKBONES[architecture.backbone].variants
            print(f"{name:28} variants: {', '.join(variants)}")
        return 0
    # Counting needs no accelerator, and not every one can tell.
    jax.config.update("jax_platforms", "cpu")
    rows = summary.parts(
        arguments.name,
        arguments.num_classes,
        tuple(arguments.size),
        output_stride=arguments.output_stride,
        variant=arguments.variant,
    )
    print(summary.table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
