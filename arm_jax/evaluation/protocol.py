"""How an image goes through the network at test time: windows, scales, flips, their average."""

from dataclasses import dataclass
from typing import Any

from arm_jax.data.augment import rescaled
from arm_jax.system.errors import InputError

# The scales of openseg's ms_test for the OCR networks, the paper's [35]
# (configs/cityscapes/R_101_D_8_TEST.json, `scale_search`), and of mmsegmentation's --aug-test.
OCR_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
MMSEGMENTATION_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


@dataclass(frozen=True)
class Window:
    """The windows of one view of an image.

    `view` is the size (height, width) to which the image is resized, `padded` the size of the
    array that holds it, `window` the size of each input of the network, `rows` and `columns` where
    the windows begin.
    """

    view: tuple[int, int]
    padded: tuple[int, int]
    window: tuple[int, int]
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """What decides whether two images can share a batch and a compiled program."""
        return (*self.padded, *self.window, len(self.rows), len(self.columns))


@dataclass(frozen=True)
class Protocol:
    """One way to test. The default is the paper's for validation: the whole image, once.

    Attributes:
      size: (short, long) sides into which the image is first resized, keeping its shape, as
        mmsegmentation's `Resize(keep_ratio=True)` does; ADE20K is tested at (512, 2048). None
        keeps the image as it is. Scores are always computed at the original size.
      crop: (height, width) of sliding windows; None takes the whole image at once.
      stride: (rows, columns) between windows; None takes two thirds of the crop, which is
        mmsegmentation's 513 for 769.
      scales: factors of the size; more than one is test-time augmentation.
      flip: also run the network on the mirror image.
      average: what is averaged over scales and flips: "logits" or "probabilities" (softmax).
      align_corners: resize logits with aligned corners, for networks that were trained so
        (mmsegmentation's of 769x769 crops; the paper's were not).
      multiple: None runs the network on exactly the image, and compiles it once for each distinct
        size. A number pads the view at the right and bottom to multiples of it with the mean
        colour, so that images of similar size share a program; what the network computes near
        those two borders, and through global pooling, then changes a little. Sliding windows that
        fit into the image are not affected.
      windows_at_once: how many windows of an image go through the network together.
      keep_logits_on: "device" or "host". With many scales, classes and large images the logits of
        all passes (at the network's own stride) may not fit the device; on the host they cost a
        transfer each way.
    """

    size: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    average: str = "logits"
    align_corners: bool = False
    multiple: int | None = None
    windows_at_once: int = 4
    keep_logits_on: str = "device"

    def __post_init__(self) -> None:
        for key in ("size", "crop", "stride"):
            pair = getattr(self, key)
            if pair is not None:
                if len(pair) != 2 or min(pair) < 1:
                    raise InputError(f"{key} = {pair} must be two positive numbers, or None")
                object.__setattr__(self, key, (int(pair[0]), int(pair[1])))
        object.__setattr__(self, "scales", tuple(float(scale) for scale in self.scales))
        if not self.scales or min(self.scales) <= 0:
            raise InputError(f"scales = {self.scales} must be one or more positive factors")
        if self.size is not None and self.size[0] > self.size[1]:
            raise InputError(f"size = {self.size} must be (short, long); swap the two numbers")
        if self.crop is None and self.stride is not None:
            raise InputError(f"stride = {self.stride} has no effect without crop; set crop too")
        if self.crop is not None and self.stride is None:
            stride = tuple(max(round(2 / 3 * side), 1) for side in self.crop)
            object.__setattr__(self, "stride", stride)
        if self.crop is not None and any(
            step > side for step, side in zip(self.stride or (), self.crop, strict=True)
        ):
            raise InputError(
                f"stride = {self.stride} is larger than crop = {self.crop} and leaves gaps; "
                "choose a smaller stride"
            )
        for key, allowed in (
            ("average", ("logits", "probabilities")),
            ("keep_logits_on", ("device", "host")),
        ):
            if getattr(self, key) not in allowed:
                value = getattr(self, key)
                raise InputError(
                    f"{key} = {value!r} is not known; choose from {', '.join(allowed)}"
                )
        for key in ("multiple", "windows_at_once"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise InputError(f"{key} = {value} must be a positive whole number")

    @property
    def passes(self) -> int:
        """How often the network runs on an image."""
        return len(self.scales) * (1 + self.flip)

    def windows(self, height: int, width: int) -> tuple[Window, ...]:
        """The windows for an image of this size: one entry per scale."""
        return tuple(self._window(height, width, scale) for scale in self.scales)

    def _window(self, height: int, width: int, scale: float) -> Window:
        view = rescaled((height, width), scale, self.size)
        multiple = self.multiple or 1
        padded = (-(-view[0] // multiple) * multiple, -(-view[1] // multiple) * multiple)
        if self.crop is None or self.stride is None:
            return Window(view, padded, padded, (0,), (0,))
        window = (min(self.crop[0], padded[0]), min(self.crop[1], padded[1]))
        rows = window_starts(view[0], window[0], self.stride[0])
        columns = window_starts(view[1], window[1], self.stride[1])
        return Window(view, padded, window, rows, columns)

    def describe(self) -> str:
        """The protocol in plain words, for reports."""
        if self.crop is None or self.stride is None:
            words = ["whole image"]
        else:
            words = [
                f"sliding windows of {self.crop[0]}x{self.crop[1]} pixels (height x width) every "
                f"{self.stride[0]} rows and {self.stride[1]} columns, logits averaged"
            ]
        if self.size is not None:
            words.append(f"image resized to fit {self.size[0]}x{self.size[1]}, shape kept")
        if self.passes == 1 and self.scales == (1.0,):
            words.append("single scale, no flip")
        else:
            words.append(
                f"scales {', '.join(f'{scale:g}' for scale in self.scales)}"
                f"{' and horizontal flip' if self.flip else ''}: {self.passes} passes, "
                f"{self.average} averaged"
            )
        if self.multiple is not None:
            words.append(f"padded to multiples of {self.multiple} pixels")
        corners = " with aligned corners" if self.align_corners else ""
        words.append(f"logits resized bilinearly{corners} to the original size")
        return "; ".join(words)


def window_starts(size: int, window: int, stride: int) -> tuple[int, ...]:
    """Where sliding windows begin: every `stride`, the last one shifted back inside.

    The rule of mmsegmentation's `slide_inference` (mmseg/models/segmentors/encoder_decoder.py),
    for one axis. An axis shorter than the window has one window, of the size of the axis.
    """
    number = max(size - window + stride - 1, 0) // stride + 1
    return tuple(min(i * stride, max(size - window, 0)) for i in range(number))


# What `evaluation.tta` may be in a config.
TTA: dict[str, dict[str, Any]] = {
    "none": {},
    "ocr": {"scales": OCR_SCALES, "flip": True, "average": "logits"},
    "mmsegmentation": {"scales": MMSEGMENTATION_SCALES, "flip": True, "average": "probabilities"},
}


def create(tta: str = "none", **options: Any) -> Protocol:
    """A protocol with a test-time augmentation by name, and any other attributes of `Protocol`.

    "ocr" is that of the paper's [35] (Sec. 4.4): 7 scales and flips, logits summed. The code of
    [35] resizes images and logits with aligned corners, because it trains its networks so. Here
    images are resized as in training, and logits by the `align_corners` option. "mmsegmentation" is
    its --aug-test: 6 scales and flips, softmax averaged. Either way the logits of a pass go to the
    size of its scaled input first and then to the original size, as in mmsegmentation.
    """
    if tta not in TTA:
        known = ", ".join(TTA)
        raise InputError(f"tta = {tta!r} is not known; choose from {known}")
    return Protocol(**(TTA[tta] | options))
