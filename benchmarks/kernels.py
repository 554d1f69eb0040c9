"""What two of TensorFlow's switches change on this machine: deterministic operations, and oneDNN's kernels.

    python benchmarks/kernels.py            # three to six minutes on two idle cores

The network of recipe fast takes the same steps in processes as usual, with --deterministic, and without
oneDNN, in turn (A B C A B C); medians of single steps, and a digest of the weights at the end. The same
digest in all usual processes means that a run repeats bit for bit without the first switch. Writes
output/benchmark_kernels.json.
"""

import hashlib
import json
import sys
import time
from dataclasses import dataclass

import numpy as np

import cifar100_cnn
from pipeline import PROJECT, atomic_io, backend
from pipeline.backend import keras
from pipeline.config import flag, parse
from pipeline.errors import exit_code
from pipeline.system import measured_in_another

# What the environment of each kind of process has; what is here wins over pipeline.backend.
MODES = {"usual": {}, "deterministic": {}, "without oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"}}


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    batch_size: int = flag(256, minimum=1)
    steps: int = flag(20, "timed steps of each process, after three that warm up", minimum=3)
    rounds: int = flag(3, "processes of each kind", minimum=2)
    precision: str = flag("auto", choices=("auto", "float32", "bfloat16"))
    mode: str = flag("", "of one process, used by the benchmark itself", choices=("", *MODES))


def steps(config: Config) -> dict:
    """Seconds of each step in this process, and a digest of the weights after the last."""
    keras.utils.set_random_seed(0)
    backend.use_determinism(config.mode == "deterministic")
    backend.use_precision(config.precision)
    model = cifar100_cnn.build_model(cifar100_cnn.Config())
    sgd = keras.optimizers.SGD(0.01, momentum=0.85, nesterov=True)
    model.compile(sgd, "sparse_categorical_crossentropy", jit_compile=False)
    rng, seconds = np.random.default_rng(0), []
    for _ in range(3 + config.steps):
        images = rng.integers(0, 256, (config.batch_size, 32, 32, 3)).astype(np.float32)
        labels = rng.integers(0, 20, config.batch_size)
        start = time.perf_counter()
        model.train_on_batch(images, labels)
        seconds.append(time.perf_counter() - start)
    digest = hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights())).hexdigest()
    return {"seconds": seconds[3:], "digest": digest}


def in_a_process(config: Config, mode: str) -> dict:
    """The same in a process of its own: no switch can be turned back."""
    settings = {**vars(config), "mode": mode}
    flags = [word for name, value in settings.items() for word in ("--" + name.replace("_", "-"), str(value))]
    return measured_in_another(mode, __file__, flags, MODES[mode])


def main(argv: list[str] | None = None) -> int:
    """All kinds of process in turn; their steps' medians and digests."""
    config = parse(Config, argv, about=__doc__)
    if config.mode:
        print(json.dumps(steps(config)))
        return 0
    found = {mode: [] for mode in MODES}
    for number in range(config.rounds):
        for mode in MODES:
            found[mode].append(in_a_process(config, mode))
        print(f"{number + 1} of {config.rounds} rounds", flush=True)
    medians = {mode: float(np.median([s for one in found[mode] for s in one["seconds"]])) for mode in MODES}
    result = {
        "seconds_per_step": medians,
        "deterministic_over_usual": medians["deterministic"] / medians["usual"],
        "without_onednn_over_usual": medians["without oneDNN"] / medians["usual"],
        "different_weights": {mode: len({one["digest"] for one in found[mode]}) for mode in MODES},
        "config": vars(config),
        **backend.provenance(),
    }
    path = PROJECT / "output" / "benchmark_kernels.json"
    atomic_io.write_json(path, result)
    same = "the same weights in all processes" if result["different_weights"]["usual"] == 1 else "differing weights"
    print(f"deterministic operations take {result['deterministic_over_usual']:.2f} times as long; as usual: {same}")
    print(f"without oneDNN a step takes {result['without_onednn_over_usual']:.2f} times as long")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
