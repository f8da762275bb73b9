"""Makes pretrained_*.pth: small files as PyTorch writes them, for the reader of such files.

python tests/goldens/make_torch_files.py        (torch 2.13.0, mmengine 0.10)
"""

import collections
from pathlib import Path

import fill
import torch
from mmengine.logging import HistoryBuffer

HERE = Path(__file__).parent


def contents():
    """Tensors of many kinds: transposed, offset into a shared storage, of every width."""
    matrix = torch.from_numpy(fill.tensor("matrix.bias", (4, 6)))
    state = collections.OrderedDict(
        matrix=matrix,
        transposed=matrix.t(),
        part=matrix[1:3, ::2],
        parameter=torch.nn.Parameter(matrix[0].clone()),
        double=matrix.double(),
        half=matrix.half(),
        brain=matrix.bfloat16(),
        count=torch.tensor(7),
        flags=matrix > 0,
        empty=torch.zeros(0, 3),
    )
    state._metadata = collections.OrderedDict(version=1)
    return {"meta": {"epoch": 3, "classes": ("road", "sky")}, "state_dict": state}


def main():
    torch.save(contents(), HERE / "pretrained_zip.pth")
    torch.save(contents(), HERE / "pretrained_stream.pth", _use_new_zipfile_serialization=False)
    # What a run of mmengine leaves beside the weights.
    losses = HistoryBuffer([1.0, 0.5], [1, 1])
    run = {**contents(), "message_hub": {"log_scalars": {"train/loss": losses}}}
    torch.save(run, HERE / "pretrained_run.pth")


if __name__ == "__main__":
    main()
