"""Times a PyTorch network by turns: `benchmark.py --peer` starts it, says when, and reads answers.

    python peers/turns.py --network deeplabv3plus_resnet50 --crop 128 256 --batch 2

Writes one line of JSON when it is ready (what runs, its parameters, the time that the first step
took), then one for every line that it reads: the seconds a step took and the peak memory. By the
lines the two frameworks run alternately, each while the other one waits. Run by hand, press Enter.
"""

import argparse
import json
import sys
import time

try:
    import torch
except ImportError:
    sys.exit(f"{sys.executable} has no PyTorch; name one that has by --peer-python")

import deeplabv3plus

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="deeplabv3plus_resnet50", choices=deeplabv3plus.DEPTHS)
    parser.add_argument("--peer", default="own", choices=("own", "smp"))
    parser.add_argument("--crop", type=int, nargs=2, default=(128, 256))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--precision", default="float32", choices=DTYPES)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--forward", action="store_true")
    arguments = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # As JAX does by default: convolutions and matrix products of float32 may use TF32.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    work, model = create(arguments, device)
    start = time.perf_counter()
    for _ in range(2):  # the second one finds its optimiser's state in place
        work()
    synchronise(device)
    say(
        torch=torch.__version__,
        device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        parameters=sum(p.numel() for p in model.parameters()),
        first_seconds=time.perf_counter() - start,
    )
    for line in sys.stdin:
        steps = int(line) if line.strip() else 1
        start, cpu_start = time.perf_counter(), time.process_time()
        for _ in range(steps):
            work()
        synchronise(device)
        say(
            seconds=(time.perf_counter() - start) / steps,
            cpu_seconds=(time.process_time() - cpu_start) / steps,
            peak_bytes=peak(device),
        )


def create(arguments, device):
    """The thing to repeat, and the network: a training step, or the labels of a batch of images."""
    name, (height, width) = arguments.network, arguments.crop
    layout = torch.channels_last if arguments.channels_last else torch.contiguous_format
    if arguments.peer == "smp":
        model = smp(name, arguments.classes)
    else:
        model = deeplabv3plus.DeepLabV3Plus(name, arguments.classes)
    model = model.to(device, memory_format=layout)
    generator = torch.Generator().manual_seed(0)
    shape = (arguments.batch, 3, height, width)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    images = images.to(device, memory_format=layout)
    labels = torch.randint(arguments.classes, (shape[0], *shape[2:]), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = 255
    labels = labels.to(device)
    dtype = DTYPES[arguments.precision]
    cast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)

    def scores(images):
        with cast:
            return model(deeplabv3plus.normalise(images))

    def classes(images):
        resized = torch.nn.functional.interpolate(
            scores(images).float(), images.shape[2:], mode="bilinear"
        )
        return resized.argmax(1).to(torch.uint8)

    def objective(images, labels):
        outputs = scores(images)
        return deeplabv3plus.loss(outputs if isinstance(outputs, tuple) else (outputs,), labels)

    if arguments.forward:
        model.eval()
        run = torch.compile(classes) if arguments.compile else classes
        return torch.inference_mode()(lambda: run(images)), model

    model.train()
    run = torch.compile(objective) if arguments.compile else objective
    fused = True if device.type == "cuda" else None
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4, fused=fused
    )
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def step():
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(run(images, labels)).backward()
        scaler.step(optimizer)
        scaler.update()

    return step, model


def smp(name, classes):
    """segmentation_models.pytorch's DeepLabV3Plus: fewer channels, no auxiliary head."""
    try:
        import segmentation_models_pytorch
    except ImportError:
        sys.exit(f"{sys.executable} has no segmentation_models_pytorch; --peer own needs none")
    return segmentation_models_pytorch.DeepLabV3Plus(
        name.removeprefix("deeplabv3plus_"),
        encoder_weights=None,
        encoder_output_stride=8,
        classes=classes,
    )


def synchronise(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak(device):
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else None


def say(**values):
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
