"""What a node of a Ray cluster does with a task: its script in a process, log and checkpoints sent on meanwhile."""

import collections
import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from pipeline import atomic_io
from pipeline.errors import UserError

PAUSE = 10  # times as long as the last sending took, until the next one: a tenth of the network's time at most
LOCKED = 90  # seconds to wait for a run whose node has died and that still saves its checkpoint


class Log:
    """What a process prints, read by a thread, so that the process never waits for its reader."""

    def __init__(self, process):
        self.process, self.unsent, self.last = process, collections.deque(), ""
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            print(line, end="", flush=True)  # to Ray's own log of this worker
            self.unsent.append(line)
            self.last = line.strip() or self.last

    def take(self) -> str:
        """What was printed since the last time."""
        return "".join(self.unsent.popleft() for _ in range(len(self.unsent)))


def run(
    name: str,
    command: list[str],
    files: str,
    coordinator,
    *,
    shipped_data: bool,
    data_dir: str | None,
    storage: str | None,
) -> tuple[int, str]:
    """Run a task's command on this machine, from its last checkpoint on.

    Args:
        name: of the task; command: script and flags, without a folder for the results.
        files: pattern of the files that it writes.
        coordinator: handle of the plan.cluster.Coordinator.
        shipped_data: whether the data sets came along in data/.
        data_dir: $DATA_DIR of the driver, used where this machine has it as well.
        storage: folder that all machines share; None: checkpoints are sent to the coordinator.
    Returns:
        exit code, last line of the output.
    """
    import ray

    from plan import cluster

    begun = ray.get(coordinator.begin.remote(name, platform.node()))
    if begun is None:
        return 143, "stopped before it began"
    folder = Path(storage, name) if storage else Path(tempfile.mkdtemp(prefix="plan-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if not any(folder.glob(files)):
            cluster.unpack(begun, folder, files)
        wait_for_locks(folder)
        process = subprocess.Popen(
            [sys.executable, "-m", "plan.watched", *command, "--output-dir", str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment(shipped_data, data_dir),
        )
        last = attend(process, name, folder, files, coordinator, send=storage is None)
        ray.get(coordinator.keep.remote(name, cluster.pack(folder, files)))
    finally:
        if storage is None:
            shutil.rmtree(folder, ignore_errors=True)
    if storage and process.returncode == 0:
        shutil.rmtree(folder, ignore_errors=True)
    ray.get(coordinator.end.remote(name))
    return process.returncode, last


def attend(process, name: str, folder: Path, files: str, coordinator, send: bool) -> str:
    """Send a process' log and, if asked, its new files, until it ends or the plan is stopped; its last line."""
    import ray

    from plan import cluster

    log, machine, sent, next_time = Log(process), platform.node(), newest(folder, files), 0.0
    try:
        while process.poll() is None:
            time.sleep(1)
            if not ray.get(coordinator.report.remote(name, machine, log.take())):
                process.terminate()
                process.wait()
            now = newest(folder, files)
            if send and now != sent and time.monotonic() >= next_time:
                started = time.monotonic()
                ray.get(coordinator.keep.remote(name, cluster.pack(folder, files)))
                sent, next_time = now, time.monotonic() + PAUSE * (time.monotonic() - started)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    log.thread.join(timeout=10)
    ray.get(coordinator.report.remote(name, machine, log.take()))
    return log.last


def newest(folder: Path, files: str) -> float:
    """Time of the last change of a folder's files."""
    latest = 0.0
    for path in folder.glob(files):
        with contextlib.suppress(FileNotFoundError):
            latest = max(latest, path.stat().st_mtime)
    return latest


def wait_for_locks(folder: Path) -> None:
    """Wait until no other process writes to a folder; after LOCKED seconds its script says so itself."""
    deadline = time.monotonic() + LOCKED
    for path in folder.glob(".*.lock"):
        while time.monotonic() < deadline:
            try:
                atomic_io.lock(path).release()
                break
            except UserError:
                time.sleep(1)


def environment(shipped_data: bool, data_dir: str | None) -> dict[str, str]:
    """Environment variables of a task's script: where its data are, and how many threads it may use."""
    variables = dict(os.environ)
    if shipped_data:
        variables.pop("DATA_DIR", None)
    elif data_dir and Path(data_dir).is_dir():
        variables["DATA_DIR"] = data_dir
    threads = variables.get("OMP_NUM_THREADS")  # Ray's, from the task's number of cores
    if threads:
        variables.setdefault("TF_NUM_INTRAOP_THREADS", threads)
        variables.setdefault("TF_NUM_INTEROP_THREADS", threads)
    variables["PYTHONUNBUFFERED"] = "1"
    return variables
