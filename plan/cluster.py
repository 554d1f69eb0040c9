"""A plan handed to a Ray cluster: a Ray task for every training run and study, its results brought back whole.

The driver's machine belongs to the cluster. An actor there, the Coordinator, holds the folders of results: a node
sends it log and checkpoints while a run goes on, and the next node takes the run up from there when the first has died.
"""

import contextlib
import fnmatch
import io
import os
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline import atomic_io
from pipeline.errors import UserError
from plan import archives, node, staging
from plan.tasks import Record, Task, epochs_of

RETRIES = 5  # of a task whose node died
FAREWELL = 120  # seconds that running tasks have to save their checkpoints when the plan is interrupted
COORDINATOR = "coordinator"  # name of the actor


def pack(folder: Path, pattern: str) -> bytes:
    """What matches in a folder, files and whole folders, as a tar archive; the metrics last, as they stand for all."""
    top = list(folder.glob(pattern))
    inside = [path for path in top if path.is_dir() for path in path.rglob("*")]
    found = [path for path in (*top, *inside) if path.is_file() and not path.name.startswith(".")]
    found.sort(key=lambda path: (path.name.endswith("_metrics.json"), path.name))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in found:
            with contextlib.suppress(FileNotFoundError):  # replaced by a newer one at this moment
                content = path.read_bytes()
                member = tarfile.TarInfo(path.relative_to(folder).as_posix())
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def unpack(packed: bytes, folder: Path, pattern: str) -> None:
    """Write the files of an archive of pack() to a folder, and delete the checkpoints of its pattern that it lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    names = set()
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            place = PurePosixPath(member.name)
            leaves_the_folder = place.is_absolute() or ".." in place.parts
            name = place.name if leaves_the_folder else str(place)
            names.add(name)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with atomic_io.replacing(folder / name) as temporary:
                temporary.write_bytes(archive.extractfile(member).read())
    for path in folder.glob(pattern):
        if path.name not in names and fnmatch.fnmatchcase(path.name, "*checkpoint*.npz"):
            path.unlink()


def epochs_in(packed: bytes) -> int:
    """Epochs of the training run in an archive of pack()."""
    with tempfile.TemporaryDirectory() as folder:
        unpack(packed, Path(folder), "*")
        return len(epochs_of(Path(folder)))


class Coordinator:
    """Ray actor on the driver's machine: the folders of results, the logs, and what runs where.

    Args:
        places: task name -> (folder, pattern of its files).
        logs: folder for a log file of each task.
    """

    def __init__(self, places: dict[str, tuple[str, str]], logs: str):
        self.places, self.logs = places, Path(logs)
        self.logs.mkdir(parents=True, exist_ok=True)
        self.running: dict[str, tuple[str, str]] = {}
        self.stopped = False

    def begin(self, name: str, machine: str) -> bytes | None:
        """What there is of a task so far, as an archive; None where the plan was stopped."""
        if self.stopped:
            return None
        self.running[name] = (machine, "starting")
        folder, pattern = self.places[name]
        return pack(Path(folder), pattern)

    def keep(self, name: str, packed: bytes) -> None:
        """Take in a task's files."""
        folder, pattern = self.places[name]
        unpack(packed, Path(folder), pattern)

    def report(self, name: str, machine: str, log: str) -> bool:
        """Take in the next part of a task's log; whether it shall go on. A log is lost where the disk is full."""
        lines = [line for line in log.replace("\r", "\n").splitlines() if line.strip()]
        if lines:
            self.running[name] = (machine, lines[-1].strip())
            with contextlib.suppress(OSError), open(self.logs / f"{name}.log", "a", encoding="utf-8") as file:
                file.write(log)
        return not self.stopped

    def end(self, name: str) -> None:
        """Note that a task runs no more."""
        self.running.pop(name, None)

    def state(self) -> dict[str, tuple[str, str]]:
        """Task name -> (machine, last line of its log), of those that run."""
        return self.running

    def stop(self) -> None:
        """Tell every task to save its checkpoint and end."""
        self.stopped = True


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that has the tasks' code and data.

    here: Ray's scheduling strategy for what stays on this machine.
    coordinator: handle of the Coordinator; logs: its folder of logs; where: arguments of plan.node.Job for every task.
    shipped: the data sets that came along.
    machines: "CPU", "GPU" and "memory" (bytes) of each that has joined, the largest first.
    """

    here: object
    coordinator: object
    logs: Path
    where: dict
    shipped: set[str]
    machines: list[dict[str, float]]

    def job(self, task: Task) -> dict:
        """Arguments of plan.node.Job for a task, but for the coordinator."""
        here = {"name": task.name, "command": staging.command_there(task), "files": task.files}
        return {**here, "shipped_data": staging.travels(task, self.shipped), **self.where}

    def needs(self, task: Task) -> dict[str, float]:
        """CPUs, GPUs and bytes of memory that a task asks for on a node; where none has that much, what there is.

        A run on several nodes takes the whole of each, or as much as the smallest of them has.
        One CPU at least: before the first machine that computes has joined, all tasks would run at once without.
        """
        smallest = {name: min(has[name] for has in self.machines[: task.nodes]) for name in ("CPU", "GPU", "memory")}
        cores, gpus = min(task.cores, smallest["CPU"]), task.gpu and smallest["GPU"] > 0
        if task.nodes > 1:
            cores, gpus = smallest["CPU"], smallest["GPU"]
        memory = min(task.memory_gb * 1e9, smallest["memory"])
        return {"CPU": max(1, cores), "GPU": int(gpus), "memory": int(memory)}


@contextlib.contextmanager
def connect(tasks: list[Task], record: Record, address: str, storage: str | None):
    """A block with a Cluster.

    Args:
        address: "auto", host:port of the head node, or "local" for one of this machine alone.
        storage: for the checkpoints, see plan.node.Job.
    Raises:
        UserError: Ray is not installed, there is no cluster at that address or too small a one, or the storage
            cannot be written to.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError('--ray needs Ray; install it with: pip install -e ".[cluster]"') from error
    plan = storage_folder(record)
    if archives.is_address(storage):
        archives.Archives(storage, plan)
    with tempfile.TemporaryDirectory() as folder:
        shipped = staging.stage(tasks, Path(folder))
        # Ray would warn about its own environment variable for GPUs, whose new value is what is wanted here.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # The nodes' processes have the environment of their node, not of this one.
        same = {name: os.environ[name] for name in ("KERAS_BACKEND",) if name in os.environ}
        runtime = {"working_dir": folder, "env_vars": same}
        on_sigterm = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address, runtime_env=runtime, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"no Ray cluster at {address} ({reason}); start one with: ray start --head") from error
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put its own in place
        try:
            where = {"data_dir": os.environ.get("DATA_DIR"), "storage": storage, "plan": plan}
            yield _cluster(ray, tasks, record, where, shipped)
        finally:
            ray.shutdown()


def storage_folder(record: Record) -> str:
    """Name of a plan's folder in the storage; two sweeps there have runs of the same names."""
    folder = record.path.parent.resolve()
    return f"{folder.name}-{staging.digest(folder)}"


def _cluster(ray, tasks: list[Task], record: Record, where: dict, shipped: set[str]) -> Cluster:
    """The cluster that Ray is connected to, with a Coordinator on this machine."""
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    places = {task.name: (str(task.folder.resolve()), task.files) for task in tasks}
    logs = record.path.parent.resolve() / "logs"
    actor = ray.remote(Coordinator).options(name=COORDINATOR, num_cpus=0, scheduling_strategy=here)
    machines = sizes([entry["Resources"] for entry in ray.nodes() if entry["Alive"]])
    refuse_too_few(machines, tasks)
    return Cluster(here, actor.remote(places, str(logs)), logs, where, shipped, machines)


def refuse_too_few(machines: list[dict[str, float]], tasks: list[Task]) -> None:
    """Raise UserError where a run wants more nodes than there are; one node may still join."""
    most, able = max(task.nodes for task in tasks), sum(has["CPU"] >= 1 for has in machines)
    if most > max(1, able):
        raise UserError(f"--nodes {most}: {able} in the cluster compute; start more with: ray start --address")


def sizes(machines: list[dict[str, float]]) -> list[dict[str, float]]:
    """CPU, GPU and memory of machines, those first that take the most: they compute, have GPUs, then more cores."""
    found = [{name: has.get(name, 0) for name in ("CPU", "GPU", "memory")} for has in machines]
    return sorted(found, key=lambda has: (has["CPU"] >= 1, has["GPU"] > 0, has["CPU"], has["memory"]), reverse=True)


def work(tasks: list[Task], record: Record, address: str, storage: str | None) -> dict[str, str]:
    """Do tasks that read nothing but data on a cluster, as many at a time as its resources allow.

    Args and errors are those of connect().

    Returns:
        task name -> why it failed, for those that did.
    """
    if not tasks:
        return {}
    with connect(tasks, record, address, storage) as cluster:
        return _submit(cluster, tasks, record)


def _submit(cluster: Cluster, tasks: list[Task], record: Record) -> dict[str, str]:
    """Hand all tasks to Ray, which runs them as there is room, and wait."""
    import ray

    waiting = {_hand_over(ray, cluster, task): task for task in tasks}
    print(f"{len(tasks)} tasks on {len(cluster.machines)} nodes; logs in {cluster.logs}", flush=True)
    try:
        return _gather(ray, waiting, cluster.coordinator, record)
    except (KeyboardInterrupt, SystemExit):
        print("\nstopping; the runs save their checkpoints", file=sys.stderr)
        ray.get(cluster.coordinator.stop.remote())
        ray.wait(list(waiting), num_returns=len(waiting), timeout=FAREWELL)
        raise


def _hand_over(ray, cluster: Cluster, task: Task):
    """Ray's reference to what becomes of a task."""
    job, needs = cluster.job(task), cluster.needs(task)
    if task.nodes > 1:
        from plan import hosts

        # It does nothing but wait, here, where no node can take it along.
        here = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": cluster.here, "name": task.name}
        return ray.remote(hosts.run).options(**here).remote(job, cluster.coordinator, needs, task.nodes)
    resources = {"num_cpus": needs["CPU"], "num_gpus": needs["GPU"], "memory": needs["memory"]}
    anywhere = {"max_retries": RETRIES, "scheduling_strategy": "SPREAD", "name": task.name}
    return ray.remote(node.run).options(**resources, **anywhere).remote(coordinator=cluster.coordinator, **job)


def _gather(ray, waiting: dict, coordinator, record: Record) -> dict[str, str]:
    """Wait for all tasks, with a table of what runs where; those that failed and why."""
    failed, began, board = {}, {}, Board(len(waiting))
    while waiting:
        ready, _ = ray.wait(list(waiting), timeout=1)
        state = ray.get(coordinator.state.remote())
        for name in state:
            began.setdefault(name, time.monotonic())
        for reference in ready:
            task = waiting.pop(reference)
            try:
                code, last = ray.get(reference)
            except ray.exceptions.RayError as error:
                code, last = None, node.reason(error)
            if code is not None and task.succeeded(code):
                record.add(task, time.monotonic() - began.get(task.name, time.monotonic()))
                board.say(f"done: {task.name}")
            else:
                failed[task.name] = last if code is None else f"exit code {code}: {last}"
                board.say(f"failed: {task.name} ({failed[task.name]})")
        running = {task.name: state[task.name] for task in waiting.values() if task.name in state}
        board.show(running, len(waiting), len(failed))
    board.clear()
    return failed


class Board:
    """Live table in a terminal: what runs where, with the last line of its log. Elsewhere only what is said."""

    def __init__(self, total: int):
        self.total, self.lines = total, 0
        self.terminal = sys.stdout.isatty()

    def show(self, running: dict[str, tuple[str, str]], left: int, failed: int) -> None:
        """Draw the table in the place of the one before."""
        if not self.terminal:
            return
        width = shutil.get_terminal_size().columns - 1
        rows = [f"  {name}  on {machine}  {line}" for name, (machine, line) in sorted(running.items())]
        rows.append(f"{self.total - left} of {self.total} ended, {failed} failed, {len(running)} running")
        self.clear()
        print("\n".join(row[:width] for row in rows), flush=True)
        self.lines = len(rows)

    def say(self, text: str) -> None:
        """A line that stays."""
        self.clear()
        print(text, flush=True)

    def clear(self) -> None:
        """Wipe the table."""
        if self.lines:
            print(f"\x1b[{self.lines}A\x1b[J", end="", flush=True)
        self.lines = 0
