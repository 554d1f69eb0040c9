"""Adopt a Keras model that was trained elsewhere, so that every script and the page take it.

    python import_model.py theirs.h5 --dataset cifar10                 # finds how its pixels were scaled
    python import_model.py theirs.keras --dataset PICTURES --pixels -1..1
    python import_model.py theirs.h5 --dataset mnist --name their_cnn --output-dir output/theirs

Takes .h5 and .keras files of Keras 3, and of Keras 2 (TensorFlow 2.3 to 2.15), functional or Sequential, of Keras' own
layers; the classes must be the data set's, in its order. Writes NAME.h5, which takes raw pixels in [0, 255] and gives
probabilities, one flat graph; NAME_metrics.json with its metrics on the data set's test part;
NAME_classification_report.csv, NAME_confusion_matrix.png and NAME_examples.png.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import atomic_io, backend, data, evaluate, models
from pipeline.config import flag, parse
from pipeline.errors import UserError, exit_code
from pipeline.models.adoption import PIXELS

TRIAL_IMAGES = 500  # training images that every pixel scaling is tried on


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    model: str = flag("", "its .h5 or .keras file", positional="MODEL")
    dataset: str = flag("", "what it was trained for: a name, or the path of your own data, as in the training scripts")
    pixels: str | None = flag(
        None,
        "the pixels that it takes itself; caffe: blue, green, red, less ImageNet's mean; default: the best on "
        f"{TRIAL_IMAGES} training images",
        choices=PIXELS,
    )
    name: str | None = flag(None, "of the files that are written; default: that of the file")
    data_dir: str | None = flag(None)
    output_dir: str = flag("output/demo", "folder for the results")


def target(config: Config) -> Path:
    """The file to write.

    Raises:
        UserError: no name for files, or the files of another model are there.
    """
    name = config.name or re.sub(r"[^\w-]+", "_", Path(config.model).stem)
    if not re.fullmatch(r"[\w-]+", name):
        raise UserError(f"--name {name} must be of letters, digits, _ and -")
    path = Path(config.output_dir) / f"{name}.h5"
    record = path.with_name(f"{name}_metrics.json")
    there = next((file for file in (path, record) if file.exists()), None)
    source, earlier = Path(config.model), {}
    if record.exists() and source.is_file():
        earlier = atomic_io.read_json(record).get("source", {})
    if there and (not earlier or earlier["sha256"] != atomic_io.sha256(source)):
        raise UserError(f"{there} is there already, of another model; delete it, or choose another --name")
    return path


def matching_data(model, config: Config) -> "data.datasets.Dataset":
    """The data set in the size and colors that a model takes; says so where they are not its own.

    Raises:
        UserError: no such data set, other classes, or the model takes no images.
    """
    is_own = config.dataset not in data.registry.SOURCES
    size = None
    if is_own and data.datasets.places(config.dataset, config.data_dir)[0].is_dir() and len(model.input_shape) > 2:
        height, width = model.input_shape[1:3]
        if height and width:  # pictures have no size of their own: they are decoded to the model's
            size = (height, width, None)
    dataset = data.datasets.load(config.dataset, config.data_dir, size)
    models.adoption.refuse_other_classes(model, len(dataset.class_names), config.model)
    shape = models.adoption.image_shape(model, dataset.image_shape, config.model)
    if shape != dataset.image_shape:
        print(
            f"warning: {dataset.title} has images of {in_words(dataset.image_shape)}, and {config.model} takes "
            f"{in_words(shape)}; they are converted",
            file=sys.stderr,
        )
        dataset = data.datasets.load(config.dataset, config.data_dir, shape)
    return dataset


def in_words(shape: tuple[int, int, int]) -> str:
    """An image shape: "32x32 pixels in color"."""
    return f"{shape[0]}x{shape[1]} pixels in {'gray' if shape[2] == 1 else 'color'}"


def found_pixels(model, dataset, config: Config) -> "list[models.adoption.Trial]":
    """Every pixel scaling tried on training images, best first; says where two cannot be told apart.

    Raises:
        UserError: none is better than chance.
    """
    adoption = models.adoption
    n = min(TRIAL_IMAGES, len(dataset.y_train))
    chosen = np.sort(np.random.default_rng(0).choice(len(dataset.y_train), n, replace=False))
    labels = dataset.y_train[chosen]
    trials = adoption.tried(model, dataset.x_train[chosen], labels, len(dataset.class_names))
    print(f"accuracy on {n} training images: {', '.join(f'{one.pixels} {one.accuracy:.3f}' for one in trials)}")
    best, second = trials[:2]
    if adoption.is_chance(best.correct, labels):
        raise UserError(
            f"{config.model} is no better than chance with any pixel scaling (at best {best.accuracy:.3f}): another "
            "data set, another order of its classes, or pixels scaled in another way; --pixels adopts it all the same"
        )
    if adoption.cannot_be_told_apart(best, second):
        print(
            f"warning: pixels {best.pixels} and {second.pixels} cannot be told apart on {n} images; {best.pixels} is "
            "taken, name --pixels if you know better",
            file=sys.stderr,
        )
    return trials


def write(saved, dataset, about: dict) -> None:
    """Measure a saved model on the test images, and write its metrics, their plots and the record."""
    folder, name, title = saved.path.parent, saved.path.stem, saved.metadata["title"]
    test = models.probabilities.on_test_images(saved, dataset)
    measured = evaluate.evaluation.measure_test(saved.model, dataset, test)
    matrix = np.array(measured["confusion_matrix"])
    report = evaluate.evaluation.by_class(matrix, dataset.class_names)
    atomic_io.write_csv(folder / f"{name}_classification_report.csv", report)
    plots = (folder / f"{name}_confusion_matrix.png", folder / f"{name}_examples.png")
    evaluate.evaluation.draw(dataset, test, matrix, title, *plots)
    record = {
        "schema": 1,
        "title": title,
        "dataset": dataset.name,
        **about,
        "files": dataset.sources,
        "data_sha256": dataset.sha256,
        "data_notes": dataset.notes,
        "image_shape": list(dataset.image_shape),
        "n_test": len(dataset.y_test),
        "parameters": saved.model.count_params(),
        **measured,
        **backend.provenance(),
    }
    atomic_io.write_json(folder / f"{name}_metrics.json", record)
    low, high = evaluate.metrics.wilson(int(matrix.trace()), len(dataset.y_test))
    print(
        f"{saved.path}: pixels {about['pixels']}, test accuracy {record['test_accuracy']:.4f} (95 % interval {low:.4f} "
        f"to {high:.4f}), loss {record['test_loss']:.4f}, {record['parameters']:,} parameters"
    )
    if models.adoption.is_chance(test.argmax(axis=1) == dataset.y_test, dataset.y_test):
        print("warning: that is no better than chance; are --pixels and the classes right?", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """Load with care, find the scaling, save by the contract, measure."""
    config = parse(Config, argv, about=__doc__)
    source = Path(config.model)
    if source.suffix not in (".h5", ".hdf5", ".keras"):
        raise UserError(f"{source} is no .h5 or .keras file; Keras' model.save() writes one")
    if not config.dataset:
        raise UserError("no data set given; name what the model was trained for by --dataset")
    path = target(config)
    model = models.untrusted.load(source)
    models.adoption.refuse_other_forms(model, source)
    dataset = matching_data(model, config)
    done = models.adoption.open_head(model)
    if done:
        print(f"{source}: {done}")
    trials = [] if config.pixels else found_pixels(model, dataset, config)
    pixels = config.pixels or trials[0].pixels
    adopted = models.adoption.classifier(model, dataset.image_shape, pixels, len(dataset.class_names))
    models.untrusted.refuse_huge_outputs(adopted, source)
    path.parent.mkdir(parents=True, exist_ok=True)
    models.saved_model.save(
        adopted,
        path,
        image_shape=dataset.image_shape,
        prefix=path.stem,
        dataset=dataset.name,
        data_sha256=dataset.sha256,
        digits=dataset.digits,
        class_names=list(dataset.class_names),
        title=f"{path.stem} (imported) on {dataset.title}",
    )
    about = {
        "source": {"file": source.name, "sha256": atomic_io.sha256(source)},
        "pixels": pixels,
        "accuracy_on_training_images": {trial.pixels: trial.accuracy for trial in trials},
    }
    write(models.saved_model.open_model(path), dataset, about)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
