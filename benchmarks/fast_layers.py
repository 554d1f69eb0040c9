"""What this project's faster forms of Keras' layers save in a training step of the CIFAR-100 network.

    python benchmarks/fast_layers.py            # about three minutes on two idle cores

The network of recipe fast with Keras' own layers, with FusedBatchNormalization in their place, and with FastConv2D
as well takes the same steps in turn (A B C A B C) in one process, at both image sizes of its training; medians of
single steps. Writes benchmark_fast_layers.json.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np

import cifar100_cnn
from benchmarks import results
from pipeline import backend, models, train
from pipeline.backend import keras, layers
from pipeline.config import flag, parse
from pipeline.errors import exit_code
from pipeline.train import identity

WARM_UP = 3  # steps
SIDES = (24, 32)  # pixels


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    batch_size: int = flag(512, minimum=1)
    rounds: int = flag(12, f"timed steps of each network and size, after {WARM_UP} that warm up", minimum=3)
    precision: str = flag("auto", choices=("auto", "float32", "bfloat16"))
    output_dir: str | None = flag(None, "folder for the result; else output/, for trials output/demo/", recorded=False)


def with_stock_convolutions(model: keras.Model) -> keras.Model:
    """The same network with Keras' own convolutions."""

    def clone(layer):
        kind = layers.Conv2D if isinstance(layer, layers.Conv2D) else type(layer)
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=clone)


def seconds_per_step(networks: dict[str, keras.Model], side: int, config: Config) -> dict[str, float]:
    """Median seconds of a training step of each network."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (config.batch_size, side, side, 3)).astype(np.float32)
    labels = rng.integers(0, 20, config.batch_size)
    seconds = {name: [] for name in networks}
    for network in networks.values():
        train.loop.trace_again(network)
    for _ in range(WARM_UP + config.rounds):
        for name, network in networks.items():
            start = time.perf_counter()
            network.train_on_batch(images, labels)
            seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(times[WARM_UP:])) for name, times in seconds.items()}


def main(argv: list[str] | None = None) -> int:
    """Time the networks step by step."""
    config = parse(Config, argv, about=__doc__)
    precision = backend.use_precision(config.precision)
    keras.utils.set_random_seed(0)
    fast = cifar100_cnn.build_model(cifar100_cnn.Config())
    networks = {
        "stock": models.contract.with_stock_layers(fast),
        "fused_batch_norm": with_stock_convolutions(fast),
        "fast": fast,
    }
    for network in networks.values():
        sgd = keras.optimizers.SGD(0.01, momentum=0.85, nesterov=True)
        network.compile(sgd, "sparse_categorical_crossentropy", jit_compile=False)
    rows = []
    for side in SIDES:
        seconds = seconds_per_step(networks, side, config)
        ratios = {name: value / seconds["fast"] for name, value in seconds.items()}
        print(f"{side} pixels: " + ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items()))
        rows.append({"side": side, "seconds_per_step": seconds, "over_fast": ratios})
    measured = {"rows": rows, "precision": precision, "config": identity.recorded(config)}
    results.write("benchmark_fast_layers.json", config, measured)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
