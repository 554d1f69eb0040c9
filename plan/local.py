"""A plan worked through on this machine, one task after the other."""

import shlex
import subprocess
import sys
import time

from pipeline import PROJECT
from plan.tasks import Record, Task, needed

INTERRUPTED = (130, 143)  # exit codes of a script that Ctrl-C or SIGTERM has ended


def work(
    tasks: list[Task], plan: list[Task], record: Record, failed_before: dict[str, str] | None = None
) -> dict[str, str]:
    """Do tasks in their order; one that fails stops those that read its results, and no others.

    Args:
        failed_before: task name -> why, of the plan's tasks that were done elsewhere.
    Returns:
        task name -> why it failed, for those that did.
    Raises:
        KeyboardInterrupt, SystemExit: Ctrl-C, SIGTERM; the task's own process has ended then, its checkpoint saved.
    """
    failed, elsewhere = {}, failed_before or {}
    for number, task in enumerate(tasks, 1):
        lacking = [other.name for other in needed(task, plan) if other.name in failed or other.name in elsewhere]
        if lacking:
            failed[task.name] = f"left out, as it reads the results of {listed(lacking)}"
            continue
        print(f"\n[{number} of {len(tasks)}] {task.name}: {shown(task)}", flush=True)
        started = time.monotonic()
        code = execute(task)
        if code in INTERRUPTED:
            raise SystemExit(code)
        if task.succeeded(code):
            record.add(task, time.monotonic() - started)
        else:
            failed[task.name] = f"exit code {code}: {shown(task)}"
    return failed


def execute(task: Task) -> int:
    """The exit code of a task's command, whose output goes where this process' does."""
    command = [sys.executable, *(str(PROJECT / word) if word.endswith(".py") else word for word in task.command)]
    with subprocess.Popen(command) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the terminal has sent it to the script, too
            process.wait()
            raise
        except SystemExit:
            process.terminate()
            process.wait()
            raise


def shown(task: Task) -> str:
    """A task's command, to be typed."""
    return shlex.join(["python", *task.command])


def listed(names: list[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
