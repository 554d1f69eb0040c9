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

from pipeline import PROJECT, atomic_io
from pipeline.errors import UserError
from plan import archives

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


class Job:
    """A task's script in a process of this machine, from its last checkpoint on; log and files are sent meanwhile.

    Args:
        name: of the task; command: script and flags, without a folder for the results.
        files: pattern of the files that it writes.
        coordinator: handle of the plan.cluster.Coordinator.
        shipped_data: whether the data sets came along in data/.
        data_dir: $DATA_DIR of the driver, used where this machine has it as well.
        storage: for the checkpoints, a folder that all machines share or an address that plan.archives takes; None:
            they are sent to the coordinator.
    Attributes:
        process: of the script; None until start().
        last: last line that it printed.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        files: str,
        coordinator,
        *,
        shipped_data: bool,
        data_dir: str | None,
        storage: str | None,
    ):
        self.name, self.command, self.files, self.coordinator = name, command, files, coordinator
        self.environment = environment(shipped_data, data_dir)
        self.archives = archives.Archives(storage) if archives.is_address(storage) else None
        self.shared = storage is not None and self.archives is None
        self.folder = Path(storage, name) if self.shared else Path(tempfile.mkdtemp(prefix="plan-"))
        self.process, self.log, self.last = None, None, ""
        self.sent, self.next_time = 0.0, 0.0

    def begin(self) -> bool:
        """Fetch what there is of the task so far; False where the plan was stopped."""
        import ray

        from plan import cluster

        begun = ray.get(self.coordinator.begin.remote(self.name, platform.node()))
        if begun is None:
            return False
        if self.archives:
            begun = self.archives.read(self.name) or begun
        self.folder.mkdir(parents=True, exist_ok=True)
        if not any(self.folder.glob(self.files)):
            cluster.unpack(begun, self.folder, self.files)
        wait_for_locks(self.folder)
        self.sent = newest(self.folder, self.files)
        return True

    def start(self) -> None:
        """Start the script."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "plan.watched", *self.command, "--output-dir", str(self.folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self.environment,
            cwd=PROJECT,
        )
        self.log = Log(self.process)

    def goes_on(self) -> bool:
        """Let a second pass, send what is new, and end the script if the plan was stopped; whether it still runs."""
        time.sleep(1)
        if not self._report():
            self._terminate()
        now = newest(self.folder, self.files)
        if not self.shared and now != self.sent and time.monotonic() >= self.next_time:
            started = time.monotonic()
            self._keep()
            self.sent, self.next_time = now, time.monotonic() + PAUSE * (time.monotonic() - started)
        return self.process.poll() is None

    def end(self) -> None:
        """End the script if it still runs, send all that it wrote to the coordinator, and clear this machine."""
        import ray

        from plan import cluster

        finished = False
        try:
            if self.process:
                self._terminate()
                self.log.thread.join(timeout=10)
                self._report()
                finished = self.process.returncode == 0
                ray.get(self.coordinator.keep.remote(self.name, cluster.pack(self.folder, self.files)))
                if self.archives and finished:
                    self.archives.delete(self.name)
                elif self.archives:
                    self._keep()
        finally:
            if finished or not self.shared:
                shutil.rmtree(self.folder, ignore_errors=True)
        ray.get(self.coordinator.end.remote(self.name))

    def _terminate(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()

    def _report(self) -> bool:
        """Send the next part of the log; whether the plan goes on."""
        import ray

        goes_on = ray.get(self.coordinator.report.remote(self.name, platform.node(), self.log.take()))
        self.last = self.log.last
        return goes_on

    def _keep(self) -> None:
        """Send the files to where another machine would take them up."""
        import ray

        from plan import cluster

        packed = cluster.pack(self.folder, self.files)
        if self.archives:
            self.archives.write(self.name, packed)
        else:
            ray.get(self.coordinator.keep.remote(self.name, packed))


def run(name: str, command: list[str], files: str, coordinator, **where) -> tuple[int, str]:
    """Run a task's command on this machine, from its last checkpoint on; the arguments are those of Job.

    Returns:
        exit code, last line of the output.
    """
    job = Job(name, command, files, coordinator, **where)
    try:
        if not job.begin():
            return 143, "stopped before it began"
        job.start()
        while job.goes_on():
            pass
    finally:
        job.end()
    return job.process.returncode, job.last


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
