"""What ImageNet weights bring on MNIST: test accuracy against the number of training images.

    python experiments/resnet50_transfer.py --weights resnet50_imagenet_conv1_to_conv4.h5    # hours
    python experiments/resnet50_transfer.py --weights FILE --dataset digits --dry-run        # minutes

Five setups of a digit classifier: ResNet50 from ImageNet weights or from a random initialization, all of it
trained; a head on features frozen at conv4 or at conv5, for images of 32 and 64 pixels; and the custom CNN. Each on
100, 1,000, 10,000 and all training images (MNIST's 60,000 less 6,000 for validation). The two small sets are drawn
three times, one subset per seed, the same for every setup. Where the weights file ends at conv4, conv5 is one
random draw: a control that shows what a random projection of conv4's features is worth, no transfer.

Budget: a row takes its script's default recipe with the same epochs, but at least a quarter of the steps that the
recipe takes on all images; so the small sets are shown more often, in batches of 64 (100 images) and 128 (1,000).
Nothing is chosen here: the validation images are not used, and the test images are read once per row. Rows of up to
1,000 images have a training accuracy, too; far below 1, the steps were too few, not the images.

What to know when comparing rows:
- A random initialization has no features to protect: no head is trained first, and BatchNorm learns like the rest,
  as is usual from scratch. At the end it takes the statistics of up to 512 training images, because its moving
  averages lag behind the weights after few steps.
- Where output/ holds ResNet50's finished default run, that is the row for all images; its seconds include the
  validation after each epoch.
- Frozen features are standardized by the row's training images, which are not augmented; their seconds include
  these images' pass through the backbone. The random conv5 has its BatchNorm statistics from 512 training images in
  smaller rows, too, which favors this control. Heads are tested in --precision, whole models in float32.

Writes resnet50_transfer.csv and .png after each row; started again, it goes on with the rows that are missing.
"""

from __future__ import annotations

import functools
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import experiments
import resnet50_transfer_learning as resnet
from experiments.transfer_setups import FROZEN, Row, plan
from pipeline import atomic_io, backend, data
from pipeline.config import flag, parse
from pipeline.console import clock
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


def estimated_seconds(rows: list[Row], images: int) -> float:
    """What some rows take, passes of all images through the backbone included."""
    sizes = {row.size for row in rows if row.setup in FROZEN}
    passes = sum(images / 600 * (size / 32) ** 2 for size in sizes)
    return passes + sum(row.estimated_seconds() for row in rows)


def fill(path: Path, config: Config, dataset: data.datasets.Dataset, file: Path) -> int:
    """Measure the rows that the table lacks, one after the other; the number of rows that failed."""
    table, training = experiments.transfer_table, experiments.transfer_training
    machine = {"precision": backend.use_precision(config.precision), "commit": backend.commit(), **backend.describe()}
    loaded = resnet_weights.load_weights(resnet.build_model(resnet.Config()), file)
    print(resnet_weights.summary(loaded))
    common = {"dataset": dataset.name, "weights": file.name, "covers": resnet_weights.stages(loaded)}
    default = resnet.Config(dataset=config.dataset, weights=config.weights)

    @functools.lru_cache(maxsize=1)
    def features(size: int):
        return training.frozen_features(dataset, file, size)

    rows = plan(len(dataset.y_train))
    all_images = len(dataset.y_train) + len(dataset.y_test)
    records = table.read(path, rows, common)
    present = {(record["setup"], record["size"], record["images"], record["seed"]) for record in records}
    missing = [row for row in rows if (row.setup, row.size, row.images, row.seed) not in present]
    total = estimated_seconds(missing, all_images)
    print(f"{len(rows)} rows, {len(records)} of them done; about {clock(total)} on two cores", flush=True)
    if records:  # interrupted, perhaps, before the last plot
        table.write(path, records, dataset.title)
    started, failed = time.monotonic(), 0
    for done, row in enumerate(missing, 1):
        print(f"{row.setup}, {row.size} px, {row.images:,} images, seed {row.seed}: {row.steps} steps", flush=True)
        try:
            result = table.default_run(row, dataset, path.parent, default, file)
            result = result or training.measure(row, dataset, file, features)
        except UserError as error:  # a loss that exploded, say; the other rows are as good
            print(f"{row.setup}, {row.images:,} images, seed {row.seed} failed: {error}", file=sys.stderr)
            failed += 1
            continue
        records.append({**table.settings(row, common), **machine, **result})
        table.write(path, records, dataset.title)
        rest = estimated_seconds(missing[done:], all_images)
        pace = (time.monotonic() - started + 300) / (total - rest + 300)  # the estimate counts as five minutes
        print(
            f"{len(records)} of {len(rows)}: test accuracy {result['test_accuracy']:.4f}, "
            f"{clock(result['training_seconds'])}; about {clock(pace * rest)} left",
            flush=True,
        )
    return failed


def main(argv: list[str] | None = None) -> int:
    """Measure every row that is missing; 1 where some failed."""
    config = parse(Config, argv, about=__doc__)
    dataset = data.datasets.split(data.datasets.load(config.dataset, config.data_dir))
    if config.dry_run:
        dataset = data.datasets.shrink(dataset, DRY_RUN)
    file = resnet_weights.find(config.weights)
    if file is None:
        raise UserError("without weights there is nothing to compare; give --weights imagenet or a file")
    folder = identity.results_folder(config.output_dir, trial=config.dry_run or config.dataset != "mnist")
    path = folder / "resnet50_transfer.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = atomic_io.lock(path.with_name(f".{path.stem}.lock"))
    try:
        failed = fill(path, config, dataset, file)
    finally:
        lock.release()
    print(f"{path}, {path.with_suffix('.png')}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
