"""Every run, study and report of the product, in order; what was interrupted goes on, what is done is left out.

    python train_all.py                        # a day or more on two cores
    python train_all.py --list                 # what there is, what is done, the time left
    python train_all.py --only "cifar100-*"    # these, whether they are done or not
    python train_all.py --dry-run              # the commands that would be run
    python train_all.py --ray auto             # the runs on a Ray cluster, the reports here: docs/clusters.md

The list is plan/product.py. A training run is done when its folder in output/runs/ holds its model and metrics, unless
output/runs/plan.json has it with other flags; all else when that file says so, unless something that it reads is newer.
What fails is listed at the end.
"""

import sys
from dataclasses import dataclass

import plan
from pipeline.config import flag, parse
from pipeline.errors import exit_code


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    list: bool = flag(
        False, "show the tasks with their needs, last times and what is done; with --only, each run of a study, too"
    )
    only: str | None = flag(None, "the tasks whose names match a pattern as of a shell, whether they are done or not")
    dry_run: bool = flag(False, "show the commands and do nothing")
    weights: str = flag("imagenet", "of ResNet50, as resnet50_transfer_learning.py takes them")
    ray: str | None = flag(None, "auto, or the address of a Ray cluster's head node: run there, see docs/clusters.md")
    storage: str | None = flag(
        None, "with --ray: folder or address (s3://...) that its machines share, for checkpoints"
    )
    nodes: int = flag(1, "with --ray: that train each run together; needs KERAS_BACKEND=jax", minimum=1)


def main(argv: list[str] | None = None) -> int:
    """Work through the plan; 1 where a task failed."""
    config = parse(Config, argv, about=__doc__)
    whole = plan.product.plan(config.weights)
    path = plan.product.OUTPUT / "runs" / "plan.json"
    record = plan.tasks.Record(path, plan.product.recorded_seconds())
    tasks = plan.tasks.chosen(whole, config.only)
    if config.list:
        print(plan.tasks.table(tasks, whole, record, grouped=not config.only))
        return 0
    if not config.only:
        tasks = [task for task in tasks if not record.done(task, whole)]
    if config.dry_run:
        for task in tasks:
            print(plan.local.shown(task))
        return 0
    tasks = plan.tasks.on_nodes(tasks, config.nodes)
    return plan.execution.execute(tasks, whole, record, config.ray, config.storage)


if __name__ == "__main__":
    sys.exit(exit_code(main))
