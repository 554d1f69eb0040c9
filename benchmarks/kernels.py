"""What two of TensorFlow's switches change on this machine: deterministic operations, and oneDNN's kernels.

    python benchmarks/kernels.py            # three to six minutes on two idle cores

The network of recipe fast takes the same steps in processes as usual, with --deterministic, and without oneDNN, in turn
(A B C A B C); medians of single steps, and a digest of the weights at the end. The same digest in all usual processes
means that a run repeats bit for bit without the first switch. Writes benchmark_kernels.json.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from dataclasses import dataclass

import numpy as np

import cifar100_cnn
from benchmarks import results
from pipeline import backend
from pipeline.backend import keras
from pipeline.config import flag, parse
from pipeline.errors import exit_code
from pipeline.system import measured_in_another
from pipeline.train import identity

# Environment variables of each kind of process; they take precedence over those of pipeline.backend.
MODES = {"usual": {}, "deterministic": {}, "without oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"}}
WARM_UP = 3  # steps


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    batch_size: int = flag(256, minimum=1)
    steps: int = flag(20, f"timed steps of each process, after {WARM_UP} that warm up", minimum=3)
    rounds: int = flag(3, "processes of each kind", minimum=2)
    precision: str = flag("auto", choices=("auto", "float32", "bfloat16"))
    mode: str = flag("", "measure one kind in this process (used by the benchmark itself)", choices=("", *MODES))
    output_dir: str | None = flag(None, "folder for the result; else output/, for trials output/demo/", recorded=False)


def measure(config: Config) -> dict:
    """Seconds of each step in this process, and a digest of the weights after the last."""
    keras.utils.set_random_seed(0)
    backend.use_determinism(config.mode == "deterministic")
    backend.use_precision(config.precision)
    model = cifar100_cnn.build_model(cifar100_cnn.Config())
    sgd = keras.optimizers.SGD(0.01, momentum=0.85, nesterov=True)
    model.compile(sgd, "sparse_categorical_crossentropy", jit_compile=False)
    rng, seconds = np.random.default_rng(0), []
    for _ in range(WARM_UP + config.steps):
        images = rng.integers(0, 256, (config.batch_size, 32, 32, 3)).astype(np.float32)
        labels = rng.integers(0, 20, config.batch_size)
        start = time.perf_counter()
        model.train_on_batch(images, labels)
        seconds.append(time.perf_counter() - start)
    digest = hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights())).hexdigest()
    return {"seconds": seconds[WARM_UP:], "digest": digest}


def measure_in_a_process(config: Config, mode: str) -> dict:
    """The same in a process of its own: no switch can be turned back."""
    settings = {**identity.recorded(config), "mode": mode}
    flags = [word for name, value in settings.items() for word in ("--" + name.replace("_", "-"), str(value))]
    return measured_in_another(mode, __file__, flags, MODES[mode])


def main(argv: list[str] | None = None) -> int:
    """All kinds of process in turn; their steps' medians and digests."""
    config = parse(Config, argv, about=__doc__)
    if config.mode:
        print(json.dumps(measure(config)))
        return 0
    runs = {mode: [] for mode in MODES}
    for number in range(config.rounds):
        for mode in MODES:
            runs[mode].append(measure_in_a_process(config, mode))
        print(f"{number + 1} of {config.rounds} rounds", flush=True)
    medians = {mode: float(np.median([run["seconds"] for run in runs[mode]])) for mode in MODES}
    digests = {mode: len({run["digest"] for run in runs[mode]}) for mode in MODES}
    deterministic = medians["deterministic"] / medians["usual"]
    without_onednn = medians["without oneDNN"] / medians["usual"]
    weights = "the same weights in all processes" if digests["usual"] == 1 else "differing weights"
    print(f"deterministic operations take {deterministic:.2f} times as long; as usual: {weights}")
    print(f"without oneDNN a step takes {without_onednn:.2f} times as long")
    result = {
        "seconds_per_step": medians,
        "deterministic_over_usual": deterministic,
        "without_onednn_over_usual": without_onednn,
        "different_weights": digests,
        "config": identity.recorded(config),
    }
    results.write("benchmark_kernels.json", config, result)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
