"""What this project's faster forms of Keras' layers save in a training step.

    python benchmarks/fast_layers.py            # about five minutes on two idle cores

CIFAR-100's network of recipe fast, at both image sizes of its training, and ResNet50 with digits: with Keras' own
layers, with FusedBatchNormalization in their place, and with FastConv2D as well. The three take the same steps in turn
(A B C A B C) in one process; medians of single steps. Writes benchmark_fast_layers_PRECISION.json.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np

import cifar100_cnn
import resnet50_transfer_learning
from benchmarks import results
from pipeline import backend, models, train
from pipeline.backend import keras, layers
from pipeline.config import flag, parse
from pipeline.errors import exit_code
from pipeline.train import identity

WARM_UP = 3  # steps
CASES = (("fast", 24), ("fast", 32), ("resnet50", 28))  # network and side of the images that it is given, in pixels


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    batch_size: int = flag(512, "of recipe fast; ResNet50's is half of it", minimum=2)
    rounds: int = flag(12, f"timed steps of each network and size, after {WARM_UP} that warm up", minimum=3)
    precision: str = flag("auto", choices=("auto", "float32", "bfloat16"), recorded=False)
    output_dir: str | None = flag(None, "folder for the result; else output/, for trials output/demo/", recorded=False)


def with_stock_convolutions(model: keras.Model) -> keras.Model:
    """The same network with Keras' own convolutions."""

    def clone(layer):
        kind = layers.Conv2D if isinstance(layer, layers.Conv2D) else type(layer)
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=clone)


def build(network: str) -> keras.Model:
    """The network, with this project's layers; all of it is trained."""
    if network == "fast":
        return cifar100_cnn.build_model(cifar100_cnn.Config())
    return resnet50_transfer_learning.build_model(resnet50_transfer_learning.Config(weights="none"))


def in_three_forms(network: str) -> dict[str, keras.Model]:
    """The network in Keras' layers, with fused batch normalization, and as it is trained; compiled."""
    fast = build(network)
    forms = {
        "stock": models.contract.with_stock_layers(fast),
        "fused_batch_norm": with_stock_convolutions(fast),
        "fast": fast,
    }
    for model in forms.values():
        sgd = keras.optimizers.SGD(0.01, momentum=0.85, nesterov=True)
        model.compile(sgd, "sparse_categorical_crossentropy", jit_compile=False)
    return forms


def seconds_per_step(forms: dict[str, keras.Model], side: int, config: Config, batch_size: int) -> dict[str, float]:
    """Median seconds of a training step of each form."""
    rng = np.random.default_rng(0)
    channels, classes = forms["fast"].input.shape[-1], forms["fast"].output.shape[-1]
    images = rng.integers(0, 256, (batch_size, side, side, channels)).astype(np.float32)
    labels = rng.integers(0, classes, batch_size)
    seconds = {name: [] for name in forms}
    for model in forms.values():
        train.loop.trace_again(model)
    for _ in range(WARM_UP + config.rounds):
        for name, model in forms.items():
            start = time.perf_counter()
            model.train_on_batch(images, labels)
            seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(times[WARM_UP:])) for name, times in seconds.items()}


def main(argv: list[str] | None = None) -> int:
    """Time the networks step by step."""
    config = parse(Config, argv, about=__doc__)
    precision = backend.use_precision(config.precision)
    rows = []
    for network, side in CASES:
        keras.utils.set_random_seed(0)
        batch_size = config.batch_size if network == "fast" else config.batch_size // 2
        seconds = seconds_per_step(in_three_forms(network), side, config, batch_size)
        ratios = {name: value / seconds["fast"] for name, value in seconds.items()}
        timed = ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items())
        print(f"{network}, {side} pixels: {timed}", flush=True)
        rows.append({"network": network, "side": side, "seconds_per_step": seconds, "over_fast": ratios})
    measured = {"rows": rows, "precision": precision, "config": identity.recorded(config)}
    results.write(f"benchmark_fast_layers_{precision}.json", config, measured)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
