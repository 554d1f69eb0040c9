"""A plan worked through, on this machine or on a Ray cluster, and what failed told at the end."""

import os
import sys
from pathlib import Path

from pipeline import atomic_io
from pipeline.errors import UserError
from plan import archives, cluster, local
from plan.tasks import Record, Task


def execute(
    tasks: list[Task],
    plan: list[Task],
    record: Record,
    address: str | None = None,
    storage: str | None = None,
    epochs: int | None = None,
) -> int:
    """Do some tasks of a plan: 0, or 1 where some failed.

    Args:
        address: of a Ray cluster, "auto" for the one that this machine belongs to; None: on this machine alone.
        storage: folder that all machines of the cluster share, or address as s3://bucket/runs, for the checkpoints.
        epochs: of a whole run, where the plan is a search, whose runs may be stopped early.
    Raises:
        UserError: another process works on this plan, the cluster cannot be used, or no run can be divided.
    """
    if storage and not address:
        raise UserError("--storage is what the machines of a cluster share; it needs --ray")
    if any(task.nodes > 1 for task in tasks):
        _check_nodes(address)
    if storage and not archives.is_address(storage):
        storage = str(Path(storage).resolve())
    record.path.parent.mkdir(parents=True, exist_ok=True)
    lock = atomic_io.lock(record.path.with_name(f".{record.path.stem}.lock"))
    failed = {}
    try:
        if epochs and tasks:
            failed = _search(plan, record, epochs, address or "local", storage)
        elif address:
            anywhere = [task for task in tasks if task.kind != "report"]
            failed = cluster.work(anywhere, record, address, storage)
            tasks_here = [task for task in tasks if task.kind == "report"]
            failed |= local.work(tasks_here, plan, record, failed)
        else:
            failed = local.work(tasks, plan, record)
    finally:
        lock.release()
    for name, why in failed.items():
        print(f"failed: {name} ({why})", file=sys.stderr)
    print(f"{len(tasks) - len(failed)} of {len(tasks)} tasks done", flush=True)
    return 1 if failed else 0


def _check_nodes(address: str | None) -> None:
    """UserError where runs cannot be divided among nodes."""
    if not address:
        raise UserError("--nodes divides a run among machines of a cluster; it needs --ray")
    if os.environ.get("KERAS_BACKEND") != "jax":
        raise UserError(
            "--nodes needs the JAX backend; install jax on all nodes and set the environment variable KERAS_BACKEND=jax"
        )


def _search(plan: list[Task], record: Record, epochs: int, address: str, storage: str | None) -> dict[str, str]:
    try:
        from plan import search
    except ImportError as error:
        raise UserError('--search needs Ray Tune; install it with: pip install -e ".[cluster]"') from error
    return search.work(plan, record, epochs, address, storage)
