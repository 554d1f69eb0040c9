"""The same network and batch trained with what people would use instead.

    pip install -e '.[peers]'
    python benchmarks/peers.py            # about twelve minutes on two idle cores

The network of recipe fast at 32x32 pixels, 256 images a step, SGD with Nesterov momentum, ready batches in memory and
no augmentation, in float32 and, where the hardware has it, in bfloat16:

    this project         its layers, precision and fit()
    Keras on TensorFlow  stock layers, compile() and fit() as they come
    Keras on JAX         the same
    Keras on PyTorch     the same
    PyTorch              written by hand, channels last, autocast for bfloat16

Each in processes of its own, in turn, so that a machine that drifts favors none; medians of single steps with the
lowest and highest of the processes. Writes benchmark_peers.json.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

import cifar100_cnn
from benchmarks import results
from pipeline import backend
from pipeline.backend import keras
from pipeline.config import flag, parse
from pipeline.errors import UserError, exit_code
from pipeline.system import cores, measured_in_another
from pipeline.train import identity

OWN, PYTORCH = "this project", "PyTorch"
# Setup -> Keras' backend; None where there is no Keras.
SETUPS = {
    OWN: "tensorflow",
    "Keras on TensorFlow": "tensorflow",
    "Keras on JAX": "jax",
    "Keras on PyTorch": "torch",
    PYTORCH: None,
}
RATE, MOMENTUM, BATCH, CLASSES = 0.01, 0.85, 256, 20
WARM_UP = 3  # steps


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    steps: int = flag(8, f"timed steps of each process, after {WARM_UP} that warm up", minimum=2)
    rounds: int = flag(2, "processes of each setup, in turn", minimum=1)
    setup: str = flag("", "measure one in this process (used by the benchmark itself)", choices=("", *SETUPS))
    precision: str = flag("float32", "of that one", choices=("float32", "bfloat16"))
    output_dir: str | None = flag(None, "folder for the result; else output/, for trials output/demo/", recorded=False)


def batches(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images (n, 32, 32, 3) float32 in [0, 255] and labels (n,) of so many steps."""
    rng, n = np.random.default_rng(0), BATCH * steps
    return rng.integers(0, 256, (n, 32, 32, 3)).astype(np.float32), rng.integers(0, CLASSES, n)


def keras_steps(setup: str, precision: str, steps: int) -> tuple[list[float], int]:
    """Seconds from the end of a step to the end of the next in Keras' fit(), and the number of parameters."""
    from pipeline.models.contract import with_stock_layers

    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    keras.utils.set_random_seed(0)
    model = cifar100_cnn.build_fast(CLASSES)
    options = {"jit_compile": False} if setup == OWN else {}
    if setup != OWN:
        model = with_stock_layers(model)
    optimizer = keras.optimizers.SGD(RATE, MOMENTUM, nesterov=True)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    ends = []

    def note_end(batch, logs):
        float(logs["loss"])  # wait until the step is done
        ends.append(time.perf_counter())

    images, labels = batches(steps)
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=note_end)
    model.fit(images, labels, batch_size=BATCH, shuffle=False, verbose=0, callbacks=[callback])
    return np.diff(ends).tolist(), model.count_params()


def pytorch_network():
    """cifar100_cnn.build_fast for 20 classes in PyTorch, pixels (n, 3, h, w) in [0, 255] in, logits out."""
    import torch
    from torch import nn

    def normalized(filters):
        return nn.BatchNorm2d(filters, momentum=0.4, eps=1e-3)

    class Block(nn.Module):
        def __init__(self, inputs, filters, inner):
            super().__init__()
            self.open = nn.Conv2d(inputs, filters, 3, padding=1, bias=False)
            self.reduce = nn.Conv2d(filters, inner, 3, padding=1, bias=False)
            self.expand = nn.Conv2d(inner, filters, 3, padding=1, bias=False)
            self.first, self.second, self.third = normalized(filters), normalized(inner), normalized(filters)

        def forward(self, x):
            x = shortcut = torch.relu(self.first(nn.functional.max_pool2d(self.open(x), 2)))
            x = torch.relu(self.second(self.reduce(x)))
            return torch.relu(self.third(self.expand(x)) + shortcut)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.tensor(cifar100_cnn.MEAN).view(1, 3, 1, 1))
            self.register_buffer("std", torch.tensor(cifar100_cnn.STD).view(1, 3, 1, 1))
            self.whiten = nn.Conv2d(3, 24, 2)
            self.blocks = nn.Sequential(Block(24, 64, 64), Block(64, 192, 160), Block(192, 512, 320))
            self.logits = nn.Linear(512, CLASSES, bias=False)

        def forward(self, x):
            x = torch.relu(self.whiten((x - self.mean) / self.std))
            return self.logits(self.blocks(x).amax(dim=(2, 3)) / 9)

    return Network()


def pytorch_steps(precision: str, steps: int) -> tuple[list[float], int]:
    """Seconds of each step of a hand-written loop, and the number of parameters."""
    import torch

    torch.set_num_threads(cores())
    torch.manual_seed(0)
    model = pytorch_network().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM, nesterov=True)
    images, labels = batches(steps)
    images = torch.from_numpy(images).permute(0, 3, 1, 2)  # channels last already
    labels = torch.from_numpy(labels)
    ends = []
    for step in range(steps):
        part = slice(step * BATCH, (step + 1) * BATCH)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            outputs = model(images[part])
        loss = torch.nn.functional.cross_entropy(outputs.float(), labels[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        ends.append(time.perf_counter())
    return np.diff(ends).tolist(), sum(parameter.numel() for parameter in model.parameters())


def measure(config: Config) -> dict:
    """Median seconds of a step of one setup in this process, and the number of trained and kept values."""
    steps = WARM_UP + config.steps
    if SETUPS[config.setup] is None:
        seconds, parameters = pytorch_steps(config.precision, steps)
    else:
        seconds, parameters = keras_steps(config.setup, config.precision, steps)
    return {"seconds": float(np.median(seconds[WARM_UP - 1 :])), "parameters": parameters}


def main(argv: list[str] | None = None) -> int:
    """All setups in both arithmetics in turn, and how often as fast this project is."""
    config = parse(Config, argv, about=__doc__)
    if config.setup:
        print(json.dumps(measure(config)))
        return 0
    for package in ("jax", "torch"):
        if find_spec(package) is None:
            raise UserError(f"{package} is not installed; run pip install -e '.[peers]'")
    pairs = [(precision, setup) for precision in backend.precisions() for setup in SETUPS]
    runs = {pair: [] for pair in pairs}
    for turn in range(config.rounds):
        for precision, setup in pairs:
            flags = ["--setup", setup, "--precision", precision, "--steps", str(config.steps)]
            environment = {"KERAS_BACKEND": SETUPS[setup] or "torch"}
            found = measured_in_another(setup, __file__, flags, environment)
            runs[precision, setup].append(found)
            print(
                f"round {turn + 1} of {config.rounds}  {precision:<9} {setup:<20} "
                f"{BATCH / found['seconds']:6.0f} images/s",
                flush=True,
            )
    rows = []
    for precision, setup in pairs:
        speeds = [BATCH / run["seconds"] for run in runs[precision, setup]]
        own = np.median([BATCH / run["seconds"] for run in runs[precision, OWN]])
        rows.append(
            {
                "setup": setup,
                "precision": precision,
                "images_per_second": float(np.median(speeds)),
                "lowest": min(speeds),
                "highest": max(speeds),
                "this_project_over_it": float(own / np.median(speeds)),
            }
        )
        print(f"{precision:<9} {setup:<20} this project is {rows[-1]['this_project_over_it']:.2f} times as fast")
    versions = {"torch": importlib.metadata.version("torch"), "jax": importlib.metadata.version("jax")}
    result = {"rows": rows, "peers": versions, "cores": cores(), "config": identity.recorded(config)}
    results.write("benchmark_peers.json", config, result | {"backends": backend.versions()})
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
