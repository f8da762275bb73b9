"""Whether the packages for ONNX files are installed, which is known without JAX."""

import importlib

from arm_jax.system.errors import InputError, first_line


def require() -> None:
    """Raise InputError where ONNX or ONNX Runtime is not installed."""
    for package in ("onnx", "onnxruntime"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise InputError(
                f"an ONNX file needs {package} ({first_line(error)}); pip install"
                " 'arm_jax[onnx]', or in a checkout -e '.[onnx]'"
            ) from None
