"""What the fused batch normalization saves in a training step of the CIFAR-100 network.

    python benchmarks/batch_norm.py            # about two minutes on two idle cores

The network of recipe fast with Keras' BatchNormalization and with FusedBatchNormalization takes the same steps in turn
(A B A B) in one process; medians of single steps. Writes benchmark_batch_norm.json.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np

import cifar100_cnn
from benchmarks import results
from pipeline import backend, models
from pipeline.backend import keras
from pipeline.config import flag, parse
from pipeline.errors import exit_code
from pipeline.train import identity

WARM_UP = 3  # steps


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    batch_size: int = flag(256, minimum=1)
    rounds: int = flag(30, f"timed steps of each network, after {WARM_UP} that warm up", minimum=3)
    precision: str = flag("auto", choices=("auto", "float32", "bfloat16"))
    output_dir: str | None = flag(None, "folder for the result; else output/, for trials output/demo/", recorded=False)


def with_stock_layers(model: keras.Model) -> keras.Model:
    """The same network with Keras' own layers in place of this project's faster forms of them."""

    def stock(layer):
        return models.contract.stock_class(layer).from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=stock)


def main(argv: list[str] | None = None) -> int:
    """Time both networks step by step."""
    config = parse(Config, argv, about=__doc__)
    precision = backend.use_precision(config.precision)
    keras.utils.set_random_seed(0)
    fused = cifar100_cnn.build_model(cifar100_cnn.Config())
    networks = {"stock": with_stock_layers(fused), "fused": fused}
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (config.batch_size, 32, 32, 3)).astype(np.float32)
    labels = rng.integers(0, 20, config.batch_size)
    seconds = {name: [] for name in networks}
    for network in networks.values():
        sgd = keras.optimizers.SGD(0.01, momentum=0.85, nesterov=True)
        network.compile(sgd, "sparse_categorical_crossentropy", jit_compile=False)
    for _ in range(WARM_UP + config.rounds):
        for name, network in networks.items():
            start = time.perf_counter()
            network.train_on_batch(images, labels)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: float(np.median(times[WARM_UP:])) for name, times in seconds.items()}
    ratio = medians["stock"] / medians["fused"]
    print(f"stock {medians['stock']:.3f} s, fused {medians['fused']:.3f} s per step: {ratio:.2f} times")
    measured = {"seconds_per_step": medians, "stock_over_fused": ratio, "precision": precision}
    results.write("benchmark_batch_norm.json", config, {**measured, "config": identity.recorded(config)})
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
