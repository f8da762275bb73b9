"""Exact confusion matrix -> aAcc, mAcc, mIoU and per-class figures, by mmsegmentation's rules.

Every figure of the paper's tables is a function of one integer matrix that counts pixels over the
whole split, so nothing here averages over images or batches, and the result depends neither on
the batch size nor on the number of devices.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def confusion_matrix(
    prediction: jax.Array, label: jax.Array, num_classes: int, ignore: int = 255
) -> jax.Array:
    """Count pixels by (label, predicted class): int32 (num_classes, num_classes).

    `prediction` and `label` are integer arrays of one shape, whatever it is; predictions lie in
    [0, num_classes). Pixels labelled `ignore`, or outside the classes, are left out.

    Jittable; under a batch sharded over devices each device counts its own pixels and only the
    matrices are summed. One call is exact up to 2**31 - 1 pixels a cell: add several calls up in
    int64 on the host, since JAX has no 64-bit integers by default. mmsegmentation
    1.x adds float32 histograms (mmseg/evaluation/metrics/iou_metric.py) and loses counts above
    2**24.
    """
    if prediction.shape != label.shape:
        raise ValueError(f"prediction {prediction.shape} and label {label.shape} differ in shape")
    counted = (label != ignore) & (label >= 0) & (label < num_classes)
    # Rows outside the matrix are dropped by the scatter, which is how a pixel is left out.
    row = jnp.where(counted, label, num_classes).astype(jnp.int32)
    matrix = jnp.zeros((num_classes, num_classes), jnp.int32)
    return matrix.at[row, prediction.astype(jnp.int32)].add(1, mode="drop")


@dataclass(frozen=True)
class Scores:
    """Figures of one confusion matrix, in percent; nan where a figure does not exist.

    `IoU` and `Acc` have one entry per class and `pixels` the number of labelled pixels.
    """

    aAcc: float
    mAcc: float
    mIoU: float
    IoU: np.ndarray
    Acc: np.ndarray
    pixels: np.ndarray

    @property
    def counted(self) -> int:
        """How many classes have an IoU: those of which mIoU is the mean."""
        return int((~np.isnan(self.IoU)).sum())

    def over(self) -> str:
        """ " over 3 of 5 classes" where mIoU leaves some out, else nothing."""
        number = len(self.IoU)
        return "" if self.counted == number else f" over {self.counted} of {number} classes"


def scores(matrix: np.ndarray) -> Scores:
    """Scores of an integer confusion matrix (C, C), rows = label, columns = prediction.

    With i = intersection, l = labelled pixels and p = predicted pixels of a class
    (mmseg/core/evaluation/metrics.py of mmsegmentation 0.11):

        IoU = i / (l + p - i)      Acc = i / l      aAcc = sum(i) / sum(l)

    and mIoU, mAcc are means over the classes for which the figure exists. A class that is neither
    labelled nor predicted has no figure and is dropped. A class that is predicted but never
    labelled has IoU 0, which counts in mIoU, and no Acc, which is dropped from mAcc. With no
    labelled pixel at all everything is nan.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"a confusion matrix is square, not {matrix.shape}")
    if not np.issubdtype(matrix.dtype, np.integer):
        raise TypeError(f"a confusion matrix counts pixels in integers, not {matrix.dtype}")
    matrix = matrix.astype(np.int64)
    intersection = np.diagonal(matrix)
    labelled = matrix.sum(axis=1)
    union = labelled + matrix.sum(axis=0) - intersection
    iou = _percent(intersection, union)
    acc = _percent(intersection, labelled)
    return Scores(
        aAcc=float(_percent(intersection.sum(), labelled.sum())),
        mAcc=_mean(acc),
        mIoU=_mean(iou),
        IoU=iou,
        Acc=acc,
        pixels=labelled,
    )


def of_images(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """mIoU and aAcc of every image by itself, in percent: float64 (n,) each, nan without a label.

    Args:
      counts: integers (n, 3, C), for each image and class the pixels of the intersection, those
        labelled and those predicted; unlabelled pixels are left out.

    As in `scores`, the mean of an image is over the classes that it is labelled with or predicted.
    """
    intersection, labelled, predicted = np.moveaxis(np.asarray(counts, np.int64), 1, 0)
    union = labelled + predicted - intersection
    iou = _percent(intersection, union)
    there = union > 0
    number = there.sum(axis=1)
    total = np.where(there, iou, 0).sum(axis=1)
    miou = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return miou, _percent(intersection.sum(axis=1), labelled.sum(axis=1))


def _percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """100 part / whole in float64, nan where whole is 0."""
    return np.where(whole > 0, 100.0 * part / np.maximum(whole, 1), np.nan)


def _mean(values: np.ndarray) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def table(result: Scores, class_names: Sequence[str]) -> str:
    """The figures as text: one line a class, then the means, two decimals as papers print them."""
    _check_names(class_names, len(result.IoU))
    width = max(len("all classes"), *(len(name) for name in class_names))
    share = 100.0 * result.pixels / max(int(result.pixels.sum()), 1)
    lines = [f"{'class':<{width}}  {'IoU':>6}  {'Acc':>6}  {'% of pixels':>11}"]
    lines.append("-" * len(lines[0]))
    for name, iou, acc, part in zip(class_names, result.IoU, result.Acc, share, strict=True):
        lines.append(f"{name:<{width}}  {_figure(iou)}  {_figure(acc)}  {part:>11.2f}")
    lines.append(lines[1])
    lines.append(f"{'all classes':<{width}}  {_figure(result.mIoU)}  {_figure(result.mAcc)}")
    means = f"mIoU {result.mIoU:.2f}   mAcc {result.mAcc:.2f}   aAcc {result.aAcc:.2f}"
    lines.append(means + ("," + result.over() if result.over() else ""))
    if result.over():
        absent = [n for n, iou in zip(class_names, result.IoU, strict=True) if np.isnan(iou)]
        lines.append(f"neither labelled nor predicted, so in no mean: {', '.join(absent)}")
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{'-':>6}" if np.isnan(value) else f"{value:>6.2f}"


def as_dict(result: Scores, class_names: Sequence[str]) -> dict[str, Any]:
    """The figures, unrounded, as plain values that JSON can hold: None in place of nan."""
    _check_names(class_names, len(result.IoU))
    return {
        "mIoU": _number(result.mIoU),
        "mAcc": _number(result.mAcc),
        "aAcc": _number(result.aAcc),
        "classes_counted": result.counted,
        "classes_named": len(class_names),
        "classes": [
            {"name": name, "IoU": _number(iou), "Acc": _number(acc), "pixels": int(pixels)}
            for name, iou, acc, pixels in zip(
                class_names, result.IoU, result.Acc, result.pixels, strict=True
            )
        ],
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def matrix_csv(matrix: np.ndarray, class_names: Sequence[str]) -> str:
    """The confusion matrix as CSV: a row per labelled class, a column per predicted one."""
    _check_names(class_names, len(matrix))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label \\ prediction", *class_names])
    for name, row in zip(class_names, matrix, strict=True):
        writer.writerow([name, *(int(count) for count in row)])
    return text.getvalue()


def _check_names(class_names: Sequence[str], number: int) -> None:
    if len(class_names) != number:
        raise ValueError(f"{len(class_names)} class names for {number} classes")
