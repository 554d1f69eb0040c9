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
from plan.tasks import epochs_of

PAUSE = 10  # times as long as the last sending took, until the next one: a tenth of the network's time at most
RETRY = 60  # seconds until the next try, where what a run has written could not be sent
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
        shipped_data: whether the task's data sets came along in data/.
        data_dir: $DATA_DIR of the driver, used where they did not and this machine has it as well.
        storage: for the checkpoints, a folder that all machines share or an address that plan.archives takes; None:
            they are sent to the coordinator.
        plan: name of the plan's folder in the storage.
        variables: further environment variables of the script.
    Attributes:
        process: of the script; None until start().
        last: last line that it printed.
        begun: whether the folder has all that there is of the task; news: whether it has what the coordinator lacks.
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
        plan: str,
        variables: dict[str, str] | None = None,
    ):
        self.name, self.command, self.files, self.coordinator = name, command, files, coordinator
        self.environment = environment(shipped_data, data_dir) | (variables or {})
        self.archives = archives.Archives(storage, plan) if archives.is_address(storage) else None
        self.shared = storage is not None and self.archives is None
        self.folder = Path(storage, plan, name) if self.shared else Path(tempfile.mkdtemp(prefix="plan-"))
        self.process, self.log, self.last = None, None, ""
        self.sent, self.next_time = 0.0, 0.0
        self.begun, self.news, self.ended = False, False, False

    def begin(self) -> bool:
        """Fetch what there is of the task so far; False where the plan was stopped.

        The storage has files of a task where its node or the driver died. Those of the coordinator are taken where the
        run went on without the storage since.
        """
        from plan import cluster

        begun = answer(self.coordinator.begin.remote(self.name, platform.node()))
        if begun is None:
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        wait_for_locks(self.folder)
        stored = self.archives.read(self.name) if self.archives else None
        if stored:
            cluster.unpack(stored, self.folder, self.files)
        if not any(self.folder.glob(self.files)) or cluster.epochs_in(begun) > len(epochs_of(self.folder)):
            cluster.unpack(begun, self.folder, self.files)
        else:
            self.news = True
        self.begun = True
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
        self.log, self.news = Log(self.process), True

    def goes_on(self) -> bool:
        """Let a second pass, send what is new, and end the script if the plan was stopped; whether it still runs."""
        time.sleep(1)
        if not self._report():
            self._terminate()
        if not self.shared and time.monotonic() >= self.next_time:
            self._send()
        return self.process.poll() is None

    def end(self) -> None:
        """End the script if it still runs, send what the coordinator lacks, and clear this machine; once.

        Raises:
            UserError: the coordinator cannot take the files; they stay where they are.
        """
        if self.ended:
            return
        self.ended = True
        try:
            if self.process:
                self._terminate()
                self.log.thread.join(timeout=10)
                self._report()
            if self.news:
                self._hand_over()
            if self.begun or not self.shared:
                shutil.rmtree(self.folder, ignore_errors=True)
        finally:
            answer(self.coordinator.end.remote(self.name))

    def _hand_over(self) -> None:
        """Send the files to the coordinator; the storage needs them no more."""
        from plan import cluster

        try:
            answer(self.coordinator.keep.remote(self.name, cluster.pack(self.folder, self.files)))
        except Exception as error:  # Ray's own, too: its object store may be full
            raise UserError(
                f"its files could not be brought back ({reason(error)}); they are on {platform.node()} in {self.folder}"
            ) from error
        if self.archives:
            with contextlib.suppress(OSError):  # what stays is older than what was brought back
                self.archives.delete(self.name)

    def _terminate(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()

    def _report(self) -> bool:
        """Send the next part of the log; whether the plan goes on."""
        goes_on = answer(self.coordinator.report.remote(self.name, platform.node(), self.log.take()))
        self.last = self.log.last
        return goes_on

    def _send(self) -> None:
        """Send what is new to where another machine would take it up; where that fails, the run goes on without."""
        now, started = newest(self.folder, self.files), time.monotonic()
        if now == self.sent:
            return
        try:
            self._keep()
        except Exception as error:  # Ray's own, too: its object store may be full
            self.log.unsent.append(f"warning: the checkpoint is on this machine alone ({reason(error)})\n")
            self.next_time = time.monotonic() + RETRY
        else:
            self.sent, self.next_time = now, time.monotonic() + PAUSE * (time.monotonic() - started)

    def _keep(self) -> None:
        from plan import cluster

        packed = cluster.pack(self.folder, self.files)
        if self.archives:
            self.archives.write(self.name, packed)
        else:
            answer(self.coordinator.keep.remote(self.name, packed))


class Follower(Job):
    """A host of a run on several machines that is not the first: it fetches and sends no files, only its log.

    Its script gets the checkpoint from the first host's over the network, and ends when that has ended.
    """

    def begin(self) -> bool:
        """There is nothing to fetch."""
        self.begun = True
        return True

    def goes_on(self) -> bool:
        """Let a second pass and send the log; whether the script still runs."""
        time.sleep(1)
        self._report()  # a stopped plan is the first host's to end: it saves the step that all have reached
        return self.process.poll() is None

    def _hand_over(self) -> None:
        """Only the first host's files count."""


def run(**job) -> tuple[int, str]:
    """Run a task's command on this machine, from its last checkpoint on; the arguments are those of Job.

    Returns:
        exit code, last line of the output.
    Raises:
        UserError: the files could not be brought back; they stay on this machine.
    """
    return _work(Job(**job))


def follow(**job) -> tuple[int, str]:
    """Run a task's command on this machine as a Follower; arguments, returned values and errors are those of run()."""
    return _work(Follower(**job))


def _work(job: Job) -> tuple[int, str]:
    try:
        if not job.begin():
            return 143, "stopped before it began"
        job.start()
        while job.goes_on():
            pass
    finally:
        job.end()
    return job.process.returncode, job.last


def answer(reference):
    """The result behind a Ray reference, waited for with this task's cores kept.

    ray.get() in a task lends its cores to other tasks while it waits, and takes them back without waiting for these to
    end: the machine would soon compute every task of the plan at once.
    """
    return reference.future().result()


def reason(error: Exception) -> str:
    """Why something failed, in a line; of an error that Ray brings from another process, the one there."""
    cause = getattr(error, "cause", None) or error
    first = (str(cause).splitlines() or [""])[0]
    return first if isinstance(cause, UserError) else f"{type(cause).__name__}: {first}"


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
