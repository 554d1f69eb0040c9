"""A training run on several nodes of a Ray cluster together: a process on each, the first of which writes the files.

The script finds the other hosts by environment variables, as under any scheduler (pipeline/train/meeting.py).
"""

import socket

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from plan import node

FAREWELL = 60  # seconds for the other hosts to end once the first has; it may be their node that has gone


def run(job: dict, coordinator, needs: dict[str, float], number: int) -> tuple[int | None, str]:
    """Run a task's script on several nodes from its last checkpoint on, and wait; itself a Ray task without cores.

    Args:
        job: arguments of plan.node.Job, of the first host.
        coordinator: handle of the plan.cluster.Coordinator.
        needs: "CPU", "GPU" and "memory" (bytes) on each node.
        number: of nodes.
    Returns:
        exit code of the first host's script, None where its node died; its last line, and why others ended before it.
    """
    group = placement_group([needs] * number, strategy="STRICT_SPREAD")
    try:
        if not _ready(group, job["name"], coordinator, number):
            return 143, "stopped before it began"
        return _train(group, job, coordinator, needs, number)
    finally:
        remove_placement_group(group)  # and what still runs in it


def _ready(group, name: str, coordinator, number: int) -> bool:
    """Wait for room on so many nodes; False where the plan was stopped meanwhile."""
    there, log = group.ready(), f"waiting for {number} nodes\n"
    while not ray.wait([there], timeout=1)[0]:
        if not ray.get(coordinator.report.remote(name, "no node yet", log)):
            return False
        log = ""
    return True


def _train(group, job: dict, coordinator, needs: dict[str, float], number: int) -> tuple[int | None, str]:
    """Start a process on each node of a placement group, and wait for all."""

    def on(place: int, function):
        strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=place)
        resources = {"num_cpus": needs["CPU"], "num_gpus": needs["GPU"], "memory": needs["memory"]}
        return ray.remote(function).options(**resources, scheduling_strategy=strategy, max_retries=0)

    address = ray.get(on(0, free_address).remote())
    hosts = {}
    for place in range(number):
        work = node.follow if place else node.run
        reference = on(place, work).remote(coordinator=coordinator, **host_of(job, address, number, place))
        hosts[reference] = place
    first, before = None, []
    while first is None:
        (reference,), _ = ray.wait(list(hosts))
        place, (code, last) = hosts.pop(reference), _outcome(reference)
        if place == 0:
            first = code, "; ".join([last, *before])
        elif code != 0:
            before.append(f"host {place} ended first: {last}")
    if hosts:
        ray.wait(list(hosts), num_returns=len(hosts), timeout=FAREWELL)
    return first


def host_of(job: dict, address: str, number: int, place: int) -> dict:
    """Arguments of plan.node.Job for one of the hosts.

    Args:
        address: of the first host, with the port where all meet; place: which of the hosts it is, from 0 on.
    """
    variables = {
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_NUM_PROCESSES": str(number),
        "JAX_PROCESS_ID": str(place),
    }
    host = {**job, "command": [*job["command"], "--devices=all"], "variables": variables}
    if place:
        host |= {"name": f"{job['name']}-host{place}", "storage": None}
    return host


def free_address() -> str:
    """An address of this machine, with a port that is free."""
    with socket.socket() as free:
        free.bind(("", 0))
        return f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"


def _outcome(reference) -> tuple[int | None, str]:
    """Exit code and last line of a host; None and why where it came to no end."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return None, node.reason(error)
    except ray.exceptions.RayError as error:
        return None, f"its node has gone, the last checkpoint is kept ({node.reason(error)})"
