"""The configs of the benchmarks, importable from any folder: `from arm_jax.configs import base`.

In a checkout they are the top-level configs/, which `--config configs/x.py` names; a wheel carries
them in this package.
"""

from arm_jax.system import shipped

__path__ = [str(shipped.folder("configs"))]
