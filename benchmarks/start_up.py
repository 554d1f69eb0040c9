"""Seconds from a training script's start to the end of its first step.

    python benchmarks/start_up.py            # about a minute

Each script begins its default run in a process of its own and is ended after one step; the median of the rounds. The
first round, which finds nothing in the system's file cache, counts as any other. Writes benchmark_start_up.json.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass

import numpy as np

from benchmarks import results
from pipeline.config import flag, parse
from pipeline.data import datasets
from pipeline.errors import exit_code
from pipeline.system import cores, measured_in_another

# Script -> the toy data that stand in for its real ones.
SCRIPTS = {"cifar100_cnn": "synthetic", "mnist_classification": "digits"}


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    rounds: int = flag(5, "processes of each script", minimum=1)
    toy: bool = flag(False, "toy data in place of the real ones")
    script: str = flag("", "start one in this process (used by the benchmark itself)", choices=("", *SCRIPTS))
    folder: str = flag("output/demo", "that this one writes to", recorded=False)
    begun: float = flag(0.0, "when this process was started, in seconds since 1970", maximum=1e11, recorded=False)
    data_dir: str | None = flag(None, recorded=False)
    output_dir: str | None = flag(None, "folder for the result; else output/, for trials output/demo/", recorded=False)


def start(config: Config) -> None:
    """Run the script until its first step is done, print the seconds since `begun`, and end the process."""
    prepare = datasets.prepare

    def prepare_and_watch(*given):
        dataset = prepare(*given)
        from pipeline import train  # only now: it imports Keras, which prepare() does while it decodes

        class FirstStep(train.loop.Progress):
            def on_train_batch_end(self, batch, logs=None):
                super().on_train_batch_end(batch, logs)
                print(json.dumps({"seconds": time.time() - config.begun}), flush=True)
                os._exit(0)

        train.loop.Progress = FirstStep
        return dataset

    datasets.prepare = prepare_and_watch
    flags = ["--output-dir", config.folder]
    flags += ["--dataset", SCRIPTS[config.script]] if config.toy else []
    flags += ["--data-dir", config.data_dir] if config.data_dir else []
    importlib.import_module(config.script).main(flags)


def main(argv: list[str] | None = None) -> int:
    """All scripts in turn, and their medians."""
    config = parse(Config, argv, about=__doc__)
    if config.script:
        start(config)
        return 0
    seconds = {script: [] for script in SCRIPTS}
    for _ in range(config.rounds):
        for script, times in seconds.items():
            flags = ["--toy"] if config.toy else []
            flags += ["--data-dir", config.data_dir] if config.data_dir else []
            with tempfile.TemporaryDirectory() as folder:
                flags += ["--script", script, "--folder", folder, "--begun", str(time.time())]
                times.append(measured_in_another(script, __file__, flags)["seconds"])
            print(f"{script:<22} {times[-1]:5.1f} s to the first step", flush=True)
    medians = {script: float(np.median(times)) for script, times in seconds.items()}
    for script, median in medians.items():
        print(f"{script}.py: {median:.1f} s")
    results.write("benchmark_start_up.json", config, {"medians": medians, "seconds": seconds, "cores": cores()})
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
