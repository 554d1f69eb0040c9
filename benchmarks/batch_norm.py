"""What the fused batch normalization saves in a training step of the CIFAR-100 network.

    python benchmarks/batch_norm.py            # about two minutes on two idle cores

The network of recipe fast with Keras' BatchNormalization and with FusedBatchNormalization takes the
same steps in turn (A B A B) in one process; medians of single steps. Writes
output/benchmark_batch_norm.json.
"""

import sys
import time
from dataclasses import dataclass

import numpy as np

import cifar100_cnn
from pipeline import PROJECT, atomic_io, backend
from pipeline.backend import keras
from pipeline.config import flag, parse
from pipeline.errors import exit_code
from pipeline.models import saved_model


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    batch_size: int = flag(256, minimum=1)
    rounds: int = flag(30, "timed steps of each network, after three that warm up", minimum=3)
    precision: str = flag("auto", choices=("auto", "float32", "bfloat16"))


def with_stock_layers(model: keras.Model) -> keras.Model:
    """The same network with Keras' own layers."""
    return keras.models.clone_model(
        model, clone_function=lambda layer: saved_model.stock_class(layer).from_config(layer.get_config())
    )


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
    for _ in range(3 + config.rounds):
        for name, network in networks.items():
            start = time.perf_counter()
            network.train_on_batch(images, labels)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: float(np.median(times[3:])) for name, times in seconds.items()}
    result = {
        "seconds_per_step": medians,
        "stock_over_fused": medians["stock"] / medians["fused"],
        "precision": precision,
        "config": vars(config),
        **backend.provenance(),
    }
    path = PROJECT / "output" / "benchmark_batch_norm.json"
    atomic_io.write_json(path, result)
    ratio = result["stock_over_fused"]
    print(f"stock {medians['stock']:.3f} s, fused {medians['fused']:.3f} s per step: {ratio:.2f} times")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
