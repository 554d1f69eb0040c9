"""One run on two hosts of one core each beside the same run on one host of two cores: speed, and bytes on the network.

    python benchmarks/hosts.py            # about six minutes on two idle cores of Linux

cifar100_cnn.py on drawn shapes with JAX, recipe fast without its small images, by turns in each way. The hosts are
processes on this machine that talk over its loopback device: what is lost is the work done twice (augmentation, the
optimizer) and the addition of the gradients, not the wait for a slow network. Bytes are counted by the device in the
last epoch, and compared with what a ring of two hosts has to move: the weights once from each to the other, a step.
Writes benchmark_hosts.json.
"""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import cifar100_cnn
from benchmarks import results
from pipeline import PROJECT
from pipeline.config import flag, parse
from pipeline.errors import UserError, exit_code

BATCH = 512
COUNTER = Path("/sys/class/net/lo/statistics/tx_bytes")


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    images: int = flag(3072, "to train on; a tenth of them validates", minimum=1024)
    epochs: int = flag(3, "of which the first one warms up", minimum=3)
    rounds: int = flag(2, "runs of each kind, in turn", minimum=1)
    output_dir: str | None = flag(None, "folder for the result; else output/, for trials output/demo/", recorded=False)


def start(config: Config, folder: Path, cores: set[int], *more: str) -> subprocess.Popen:
    """A run on some of this machine's processor cores."""
    command = [sys.executable, str(PROJECT / "cifar100_cnn.py"), "--dataset", "synthetic", "--limit"]
    command += [str(config.images), "--epochs", str(config.epochs), "--small-epochs", "0", "--batch-size", str(BATCH)]
    command += ["--validation", "0.1", "--precision", "float32", "--output-dir", str(folder), *more]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    os.sched_setaffinity(0, cores)  # which the new process inherits
    return subprocess.Popen(command, env=environment, **quiet)


def watched(processes: list[subprocess.Popen], history: Path, epochs: int) -> dict:
    """Seconds of a run's last epoch, and bytes sent through loopback meanwhile."""
    sent = {}
    while any(process.poll() is None for process in processes):
        rows = list(csv.DictReader(history.open())) if history.exists() else []
        sent.setdefault(len(rows), int(COUNTER.read_text()))
        time.sleep(0.05)
    for process in processes:
        if process.returncode:
            raise UserError(f"a run failed: {process.stderr.read().strip().splitlines()[-1]}")
    rows = list(csv.DictReader(history.open()))
    return {"seconds": float(rows[-1]["seconds"]), "bytes": sent[epochs] - sent[epochs - 1]}


def measure(hosts: int, config: Config) -> dict:
    """One run on so many hosts."""
    every = sorted(os.sched_getaffinity(0))[:2]
    with tempfile.TemporaryDirectory() as folder:
        if hosts == 1:
            processes = [start(config, Path(folder, "0"), set(every))]
        else:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                addresses = f"127.0.0.1:{free.getsockname()[1]},127.0.0.1"
            flags = [("--hosts", addresses, "--host", str(host)) for host in (0, 1)]
            processes = [start(config, Path(folder, str(k)), {every[k]}, *flags[k]) for k in (0, 1)]
        os.sched_setaffinity(0, set(every))
        return watched(processes, Path(folder, "0", "cifar100_history.csv"), config.epochs)


def main(argv: list[str] | None = None) -> int:
    """Both kinds of runs in turn."""
    config = parse(Config, argv, about=__doc__)
    if not COUNTER.exists() or len(os.sched_getaffinity(0)) < 2:
        raise UserError("this benchmark needs Linux and two processor cores")
    runs = {1: [], 2: []}
    n = config.images - config.images // 10
    for turn in range(config.rounds):
        for hosts in runs:
            found = measure(hosts, config)
            runs[hosts].append(found)
            print(f"round {turn + 1}  hosts {hosts}: {n / found['seconds']:,.0f} images/s", flush=True)
    seconds = {hosts: float(np.median([run["seconds"] for run in found])) for hosts, found in runs.items()}
    steps = n // BATCH
    per_step = float(np.median([run["bytes"] for run in runs[2]])) / steps
    weights = 4 * cifar100_cnn.build_model(cifar100_cnn.Config()).count_params()
    result = {
        "images_per_second": {str(hosts): n / value for hosts, value in seconds.items()},
        "efficiency": seconds[1] / seconds[2],
        "megabytes_per_step": per_step / 1e6,
        "expected_megabytes_per_step": 2 * weights / 1e6,
        "rounds": config.rounds,
    }
    print(
        f"two hosts run at {result['efficiency']:.0%} of the speed of one with their cores; "
        f"{result['megabytes_per_step']:.0f} MB a step on the network, {2 * weights / 1e6:.0f} by calculation"
    )
    results.write("benchmark_hosts.json", config, result)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
