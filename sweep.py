"""Settings of a training script compared: table and plot of the validation accuracy.

    python sweep.py cifar100_cnn.py --learning-rate 0.1,0.2,0.3 --seeds 0-2
    python sweep.py mnist_classification.py --dataset digits --filters 8,16 --dropout 0,0.3 --epochs 5
    python sweep.py cifar100_cnn.py --learning-rate 0.1,0.2,0.3 --seeds 0-2 --ray auto    # on a Ray cluster
    python sweep.py cifar100_cnn.py --recipe best --nodes 2 --ray auto    # one run, divided among two nodes
    python sweep.py cifar100_cnn.py --learning-rate 0.02:0.3 --cutmix 0,0.5,1 --search 40    # needs Ray Tune

Every flag of the script can be given; one with a list of values becomes a side of the grid. --search draws so many
settings at random, from lists and ranges, and stops those that fall behind after a ninth and a third of the epochs
(ASHA). A range is log-uniform, uniform where it begins at 0, and of whole numbers where both ends are. The same command
again goes on where it was interrupted and leaves out the runs that are finished. Test images decide nothing here: all
goes by the validation accuracy alone. Writes sweep.csv, sweep.json, sweep.png and a folder per run.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import plan
from pipeline.config import flag, parse
from pipeline.errors import DEBUG, UserError, exit_code


@dataclass(frozen=True)
class Config:
    """Settings of the sweep itself; each is a flag, see --help."""

    script: str | None = flag(None, "training script whose settings are varied", positional="SCRIPT")
    seeds: str = flag("0", "random seeds of each setting, as 0-2 or 0,3,5")
    search: int | None = flag(None, "draw so many settings, and stop early those that fall behind", minimum=2)
    output_dir: str | None = flag(None, "folder for the results; else one in output/runs/ named by the fixed flags")
    ray: str | None = flag(None, "auto, or the address of a Ray cluster's head node: run there, see docs/clusters.md")
    storage: str | None = flag(
        None, "with --ray: folder or address (s3://...) that its machines share, for checkpoints"
    )
    nodes: int = flag(1, "with --ray: that train each run together; needs KERAS_BACKEND=jax", minimum=1)


def split(argv: list[str]) -> tuple[list[str], list[str]]:
    """The words of a command line that are for the sweep, and those that are for the script."""
    own, others, words = [], [], list(argv)
    named = ("--seeds", "--search", "--output-dir", "--ray", "--storage", "--nodes")
    if words and not words[0].startswith("-"):
        own.append(words.pop(0))
    while words:
        word = words.pop(0)
        if word.partition("=")[0] in named:
            own.append(word)
            if word in named and words:
                own.append(words.pop(0))
        elif word in ("--help", "-h", DEBUG):
            own.append(word)
        else:
            others.append(word)
    return own, others


def main(argv: list[str] | None = None) -> int:
    """Every run of the grid or the search, then table and plot; 1 where a run failed."""
    own, words = split(sys.argv[1:] if argv is None else argv)
    config = parse(Config, own, about=__doc__)
    if config.script is None:
        raise UserError("name the training script first, as: python sweep.py cifar100_cnn.py --learning-rate 0.1,0.2")
    if config.search and config.nodes > 1:
        raise UserError("--search trains each run on one node; leave --nodes out")
    sweep = plan.sweep.read(config.script, words, config.seeds, config.search)
    folder = Path(config.output_dir) if config.output_dir else sweep.folder()
    plan.sweep.claim(sweep, folder)
    runs = plan.sweep.tasks(sweep, folder)
    record = plan.tasks.Record(folder / "plan.json")
    tasks = [task for *_, task in runs]
    missing = [task for task in tasks if not record.done(task, tasks)]
    print(f"{len(runs) // len(sweep.seeds)} settings, seeds {config.seeds}: {len(missing)} of {len(tasks)} runs to do")
    epochs = plan.sweep.epochs(sweep) if config.search else None
    missing = plan.tasks.on_nodes(missing, config.nodes)
    code = plan.execution.execute(missing, tasks, record, config.ray, config.storage, epochs)
    groups = plan.sweep.results(runs, record)
    if groups:
        plan.sweep.write(sweep, groups, folder)
        print(f"{plan.sweep.table(groups)}\n{folder / 'sweep.png'}, .csv, .json")
    return code


if __name__ == "__main__":
    sys.exit(exit_code(main))
