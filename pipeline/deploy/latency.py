"""Latency of a model's runtimes on the CPU, each in a process of its own, measured in turns."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from pipeline import PROJECT
from pipeline.errors import UserError

CALLS = {1: 10, 32: 3, 256: 1}  # batch -> timed calls per turn


class Worker:
    """A pipeline.deploy.timing_worker process; starting it does not wait until the model is loaded.

    Args:
        name: of the runtime, see timing_worker.
        source: model file, or side of a matrix.
        threads: processor threads.
        images: .npy file of raw pixels, for a model.
    """

    def __init__(self, name: str, source, threads: int, images: Path | None = None):
        self.name = name
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (lives as long as the process)
        where = str(source.resolve() if isinstance(source, Path) else source)  # the process starts elsewhere
        limits = {key: str(threads) for key in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.deploy.timing_worker", name, where, str(threads), str(images or "")],
            cwd=PROJECT,
            env={**os.environ, **limits, "TF_NUM_INTEROP_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def turn(self, batch: int, calls: int) -> tuple[list[float], float | None]:
        """Seconds of each of so many calls, and the process' peak memory in MB so far; UserError if it stopped."""
        self.ask(batch, calls)
        return self.answer()

    def ask(self, batch: int, calls: int) -> None:
        """Have the process take a turn, without waiting for it; UserError if it stopped."""
        try:
            print(json.dumps({"batch": batch, "calls": calls}), file=self.process.stdin, flush=True)
        except OSError as error:
            raise self._stopped() from error

    def answer(self) -> tuple[list[float], float | None]:
        """What turn() returns, of the turn that was asked for first; UserError if it stopped."""
        try:
            answer = json.loads(self.process.stdout.readline())
        except (OSError, ValueError) as error:
            raise self._stopped() from error
        return answer["seconds"], answer["peak_megabytes"]

    def _stopped(self) -> UserError:
        self.errors.seek(0)
        said = (self.errors.read().strip().splitlines() or ["nothing said"])[-1]
        return UserError(f"{self.name} stopped while it was timed: {said}")

    def close(self) -> None:
        """End the process, which has nothing to save."""
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):  # what it was asked last may not have reached it
            self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()


@contextlib.contextmanager
def matrix_products(sides: dict[str, int], threads: int):
    """Workers for the products of square matrices, the machine's peak, as {name: Worker}; for interleaved().

    Args:
        sides: arithmetic, "float32" or "bfloat16" -> side of the matrices.
        threads: of each process.
    """
    with contextlib.ExitStack() as stack:
        workers = {}
        for kind, side in sides.items():
            name = f"matmul {kind}"
            workers[name] = Worker(name, side, threads)
            stack.callback(workers[name].close)
        yield workers


def interleaved(sources: dict, images: np.ndarray, threads: int, rounds: int, tell=lambda done: None) -> dict:
    """Seconds per call of several runtimes, timed in turns (A B C, C B A, …): a drifting machine favors none.

    Each runs in a process of its own with the same fixed number of threads, after a warm-up at every
    batch size; no other runtime's threads or memory are in it. One call before each turn is not timed.

    Args:
        sources: runtime's name (see pipeline.deploy.timing_worker) -> model file, or a Worker that stays open.
        images: raw pixels (n, h, w, c), repeated where n is smaller than a batch.
        threads: of each process.
        rounds: turns of each runtime at each batch size.
        tell: called with the number of rounds done.
    Returns:
        name -> {"seconds": {batch: list of calls}, "peak_megabytes": of the process, or None}.
    """
    found = {name: {"seconds": {batch: [] for batch in CALLS}, "peak_megabytes": None} for name in sources}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        np.save(Path(folder) / "images.npy", images[: max(CALLS)])
        workers = []
        for name, source in sources.items():
            worker = source
            if not isinstance(source, Worker):
                worker = Worker(name, source, threads, Path(folder) / "images.npy")
                stack.callback(worker.close)
            workers.append(worker)
        for batch in CALLS:
            for worker in workers:  # all at once: a warm-up is the call that is never timed
                worker.ask(batch, 0)
            for worker in workers:
                worker.answer()
        for done in range(rounds):
            for batch, calls in CALLS.items():
                for worker in workers if done % 2 == 0 else reversed(workers):
                    seconds, peak = worker.turn(batch, calls)
                    found[worker.name]["seconds"][batch] += seconds
                    found[worker.name]["peak_megabytes"] = peak
            tell(done + 1)
    return found
