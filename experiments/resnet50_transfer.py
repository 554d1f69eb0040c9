"""What ImageNet weights bring on MNIST: test accuracy against the number of training images.

    python experiments/resnet50_transfer.py --weights resnet50_imagenet_conv1_to_conv4.h5    # hours
    python experiments/resnet50_transfer.py --weights FILE --dataset digits --dry-run        # minutes

Five setups to a digit classifier on 100, 1,000, 10,000 and all training images (MNIST's 60,000 less the
6,000 that every script holds out). The two small sets are drawn three times, one draw per seed, the same
for every setup. Frozen features with a trained head are taken behind conv4 and behind conv5, at 32 and 64
pixels. Where the weights file ends at conv4, that conv5 is one random draw: a control, which shows what a
random projection of conv4's features is worth, and no transfer.

Budget: every row takes its script's default recipe with the same passes over its images, but at least a
quarter of the steps that the recipe takes on all of them; so the small sets are shown more often, in
batches of 64 (100 images) and 128 (1,000). A random initialization leaves out what serves to keep features that
it does not have: no head is trained first, and BatchNorm learns like the rest, as is usual from scratch.
Nothing is chosen here and the validation images are not used; the test images are read once per row. Rows of
up to 1,000 images have their training accuracy as well: far from 1, the steps were too few, not the images.
Where output/ holds ResNet50's finished default run, that is the row for all images; its seconds hold the
validation after each epoch. At the end a random initialization's BatchNorm gets the statistics of up to 512 of the
row's training images: in few steps its averages lag behind the weights. Frozen features are standardized by
the row's own training images, which are not distorted there as they are elsewhere; their seconds hold these
images' pass through the backbone. The random conv5 has its BatchNorm statistics from 512 training images in rows
of fewer, too, which favours this control; heads are tested in --precision, not in float32 as whole models are.

Writes resnet50_transfer.csv and .png, a row at a time; started again, it goes on with the rows that are missing.
"""

import functools
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

import resnet50_transfer_learning as resnet
from experiments import transfer_plot
from experiments.transfer_setups import CONV4, CONV5, PRETRAINED, Row, measure, plan, through_backbone
from pipeline import atomic_io, backend
from pipeline.config import flag, parse
from pipeline.console import clock
from pipeline.data import datasets
from pipeline.errors import UserError, exit_code
from pipeline.train import identity, resnet_weights

DRY_RUN = 48  # images


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    weights: str = flag("imagenet", "imagenet (downloads), or a Keras weights file, perhaps of some layers only")
    dataset: str = flag("mnist", "real MNIST, or scikit-learn's digits", choices=("mnist", "digits"))
    precision: str = flag("auto", choices=("auto", "float32", "bfloat16"))
    data_dir: str | None = flag(None)
    output_dir: str | None = flag(None, "folder for results; else output/, for trials output/demo/")
    dry_run: bool = flag(False, f"{DRY_RUN} images, to see that it works")


def default_run(row: Row, dataset: datasets.Dataset, folder: Path, config: Config, file: Path) -> dict | None:
    """The finished run of ResNet50's script on all images, if it is there and as its default recipe is today."""
    path = folder / "resnet50_metrics.json"
    if row.setup != PRETRAINED or row.images < len(dataset.y_train) or not path.exists():
        return None
    metrics = atomic_io.read_json(path)
    today = identity.recorded(resnet.Config(dataset=config.dataset, weights=config.weights))
    today["files"] = dataset.files | resnet_weights.fingerprint(file)
    changed = identity.differences(metrics.get("config", {}), today)
    if differs := changed.keys() - {"precision", "seed", "backend"}:
        print(f"{path}: not taken over, it differs from today's default recipe in {', '.join(sorted(differs))}")
        return None
    found = {name: metrics[name] for name in ("test_accuracy", "training_seconds", "commit")} | {"train_accuracy": None}
    source = f"{path.name}, seed {metrics['seed']}"
    machine = {name: metrics["hardware"][name] for name in ("processor", "cores", "accelerator")}
    return {**found, "source": source, "precision": metrics["config"]["precision"], **machine}


def repeated(record: dict, folder: Path) -> bool:
    """Whether a row was taken over from a run of ResNet50's script that has been made anew since."""
    path = folder / "resnet50_metrics.json"
    if not str(record.get("source")).startswith(path.name) or not path.exists():
        return False
    metrics = atomic_io.read_json(path)
    return (record["commit"], record["training_seconds"]) != (metrics["commit"], metrics["training_seconds"])


def settings(row: Row, common: dict) -> dict:
    """What decides a row's result: the row, the data and, where they are used, the weights."""
    none = {} if row.setup in (PRETRAINED, CONV4, CONV5) else {"weights": "none", "covers": "none"}
    return asdict(row) | common | none


def earlier(path: Path, rows: list[Row], common: dict) -> list[dict]:
    """The rows that an interrupted run of these very settings has left; UserError where they are of others."""
    if not path.exists():
        return []
    try:
        found = pd.read_csv(path, keep_default_na=False, dtype={"commit": str}).to_dict("records")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged; delete it or choose another --output-dir") from error
    planned = [settings(row, common) for row in rows]
    if any({key: record.get(key) for key in planned[0]} not in planned for record in found):
        raise UserError(f"{path} has rows of other settings, data or weights; move it, or choose another --output-dir")
    return found


def expected(rows: list[Row], images: int) -> float:
    """A guess at the seconds that some rows take, passes through the backbone included."""
    sizes = {row.size for row in rows if row.setup in (CONV4, CONV5)}
    return sum(row.guess() for row in rows) + sum(images / 600 * (size / 32) ** 2 for size in sizes)


def fill(path: Path, config: Config, dataset: datasets.Dataset, file: Path) -> int:
    """Measure every row that is not in the table yet, one after the other; how many of them failed."""
    machine = {
        "precision": backend.use_precision(config.precision),
        "commit": backend.commit(),
        **backend.describe(),
    }
    loaded = resnet_weights.load_weights(resnet.build_model(resnet.Config()), file)
    print(resnet_weights.summary(loaded))
    common = {"dataset": dataset.name, "weights": file.name, "covers": resnet_weights.stages(loaded)}

    @functools.lru_cache(maxsize=1)
    def features(size):
        return through_backbone(dataset, file, size)

    rows, n = plan(len(dataset.y_train)), len(dataset.y_train) + len(dataset.y_test)
    table = [record for record in earlier(path, rows, common) if not repeated(record, path.parent)]
    there = {(record["setup"], record["size"], record["images"], record["seed"]) for record in table}
    missing = [row for row in rows if (row.setup, row.size, row.images, row.seed) not in there]
    print(f"{len(rows)} rows, {len(table)} of them there; about {clock(expected(missing, n))} on two cores", flush=True)
    picture = path.with_suffix(".png")
    if table:  # an earlier start may have been cut off before its picture
        transfer_plot.draw(pd.DataFrame(table), dataset.title, picture)
    began, failed = time.monotonic(), 0
    for i, row in enumerate(missing):
        print(f"{row.setup}, {row.size} px, {row.images:,} images, seed {row.seed}: {row.steps} steps", flush=True)
        try:
            result = default_run(row, dataset, path.parent, config, file) or measure(row, dataset, file, features)
        except UserError as error:  # a loss that exploded, say: the other rows are as good
            print(f"{row.setup}, {row.images:,} images, seed {row.seed} failed: {error}", file=sys.stderr)
            failed += 1
            continue
        table.append({**settings(row, common), **machine, **result})
        atomic_io.write_csv(path, pd.DataFrame(table))
        transfer_plot.draw(pd.DataFrame(table), dataset.title, picture)
        rest = expected(missing[i + 1 :], n)
        pace = (time.monotonic() - began + 300) / (expected(missing, n) - rest + 300)  # the guess counts as 5 minutes
        print(
            f"{len(table)} of {len(rows)}: test accuracy {result['test_accuracy']:.4f}, "
            f"{clock(result['training_seconds'])}; about {clock(pace * rest)} left",
            flush=True,
        )
    return failed


def main(argv: list[str] | None = None) -> int:
    """Every row that is not there yet; 1 where some failed."""
    config = parse(Config, argv, about=__doc__)
    dataset = datasets.split(datasets.load(config.dataset, config.data_dir))
    if config.dry_run:
        dataset = datasets.shrink(dataset, DRY_RUN)
    file = resnet_weights.find(config.weights)
    if file is None:
        raise UserError("without weights there is nothing to compare; give --weights imagenet or a file")
    trial = config.dry_run or config.dataset != "mnist"
    path = Path(config.output_dir or ("output/demo" if trial else "output")) / "resnet50_transfer.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    held = atomic_io.lock(path.with_suffix(".lock"))
    try:
        failed = fill(path, config, dataset, file)
    finally:
        held.release()
    print(f"{path}, {path.with_suffix('.png')}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
