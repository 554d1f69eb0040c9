"""Explanations of a model's predictions: heat maps of the evidence for a class.

    python gradcam.py                                              # every model in output/
    python gradcam.py --output-dir output/demo                     # those of the demo
    python gradcam.py output/cifar100_cnn_scratch.h5 --method grad-cam --layer block3_relu2
    python gradcam.py output/custom_cnn_model.h5 a.png b.jpg       # your own pictures
    python gradcam.py output/custom_cnn_model.h5 a.png --target 4 --against 9   # why 4 and not 9

Writes <prefix>_gradcam.png (of each class the first test image that the model gets right, and the first
that it gets wrong) or <prefix>_photos_gradcam.png, beside the model; another explanation of test images than
the default one goes to demo/ there. benchmarks/faithfulness.py tests the methods.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import data, explain, models
from pipeline.config import flag, parse
from pipeline.errors import UserError, exit_code
from pipeline.explain import explainer


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    model: str | None = flag(None, "one saved .h5 model; default: all in the output folder", positional="MODEL")
    images: tuple[str, ...] = flag((), "your own picture files, or folders of them", positional="PICTURE")
    method: str = flag(explainer.DEFAULT_METHOD, "how evidence is found", choices=explainer.METHODS)
    layer: str | None = flag(None, f"layer to explain, or {explainer.FUSED}: all stages; default: chosen for the model")
    target: str | None = flag(None, "class to explain, by name; default: the predicted one")
    against: str | None = flag(None, "second class, by name: explain why the first one and not this one")
    data_dir: str | None = flag(None)
    output_dir: str | None = flag(None, "folder with the models [output], and for the pictures; default: see above")


def folder_for(path: Path, config: Config) -> Path:
    """Folder for a model's plot; test images with another explanation than the default one go to demo/ in it."""
    asked = (config.method, config.layer, config.target, config.against)
    if config.output_dir:
        folder = Path(config.output_dir)
    elif config.images or asked == (explainer.DEFAULT_METHOD, None, None, None):
        folder = path.parent
    else:
        folder = path.parent / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def class_number(name: str | None, class_names: list[str]) -> int | None:
    """Label of a class; UserError lists the names where there is no such class."""
    if name is not None and name not in class_names:
        raise UserError(f"there is no class {name}; the model's classes are {', '.join(class_names)}")
    return None if name is None else class_names.index(name)


class Explained:
    """A saved model with the explanation that the flags ask for.

    Raises:
        UserError: a class or a layer that it lacks, or flags that contradict each other.
    """

    def __init__(self, path: Path, config: Config):
        saved = models.saved_model.open_model(path)
        self.saved, self.model, self.about = saved, saved.model, saved.metadata
        self.config, self.names = config, self.about["class_names"]
        self.target = class_number(config.target, self.names)
        self.against = class_number(config.against, self.names)
        if config.method == "eigen-cam" and (config.target or config.against):
            raise UserError("eigen-cam asks for no class; leave --target and --against away, or take another --method")
        if config.target and config.target == config.against:
            raise UserError(f"--target and --against are both {config.target}; there is nothing to tell apart")
        self.explainer = explainer.Explainer(self.model)
        self.layers = self.explainer.layers(config.method, config.layer)

    @property
    def what(self) -> str:
        """The method and its layers, for a plot's title."""
        where = [f"{len(self.layers)} fused stages"] if len(self.layers) > 1 else self.layers
        shown = "The model's reaction" if self.config.method == "eigen-cam" else "Evidence for a class"
        return " at ".join([f"{shown}: {self.config.method}", *where])

    @property
    def score(self) -> str:
        """The score that the first heat map of an example explains."""
        if self.config.method == "eigen-cam":
            return "whatever the class"
        against = f", not {self.config.against}" if self.config.against else ""
        return (self.config.target or "predicted class") + against

    def maps(self, images: np.ndarray, classes: np.ndarray, against: int | None = None) -> np.ndarray:
        """Heat maps (n, h, w) float32 in [0, 1] of these classes (n,), one for each image."""
        other = None if against is None else np.full(len(classes), against)
        weights = explainer.score_weights(classes, len(self.names), other)
        return self.explainer(images, weights, self.config.method, self.config.layer)

    def main_maps(self, images: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Heat maps of the classes that --target and --against name; without them, of the predicted ones."""
        classes = predicted if self.target is None else np.full(len(predicted), self.target)
        return self.maps(images, classes, self.against)


def first_of_each_class(labels: np.ndarray, fits: np.ndarray) -> dict[int, int]:
    """Class -> index of its first image for which `fits` (n,) bool is true: a choice that is not cherry-picked."""
    classes, first = np.unique(labels[fits], return_index=True)
    return dict(zip(classes.tolist(), np.flatnonzero(fits)[first].tolist(), strict=True))


def explain_test_images(path: Path, config: Config) -> None:
    """Plot with a row per class: a test image that the model gets right, and one that it gets wrong."""
    explained = Explained(path, config)
    names, shape = explained.names, explained.model.input_shape[1:]
    dataset = data.datasets.load(explained.about["dataset"], config.data_dir, shape)
    images, labels = dataset.x_test, dataset.y_test
    probabilities = models.probabilities.on_test_images(explained.saved, dataset)
    predicted = probabilities.argmax(axis=1)
    right = first_of_each_class(labels, predicted == labels)
    wrong = first_of_each_class(labels, predicted != labels)
    chosen = [*right.values(), *wrong.values()]
    main = dict(zip(chosen, explained.main_maps(images[chosen], predicted[chosen]), strict=True))
    asked = list(wrong.values()) if config.method != "eigen-cam" else []
    true = dict(zip(asked, explained.maps(images[asked], labels[asked]), strict=True)) if asked else {}

    def example(index: int | None, missing: str):
        if index is None:
            return missing
        best, truth = predicted[index], labels[index]
        caption = f"true: {names[truth]} ({probabilities[index, truth]:.0%})\n"
        caption += f"predicted: {names[best]} ({probabilities[index, best]:.0%})"
        return images[index], caption, [main[index], true[index]] if index in true else [main[index]]

    rows = [
        [
            example(right.get(k), f"no test image of {names[k]} is right"),
            example(wrong.get(k), f"no test image of {names[k]} is wrong"),
        ]
        for k in range(len(names))
    ]
    groups = {"got right": [explained.score], "got wrong": [explained.score, *(["true class"] if asked else [])]}
    plot = folder_for(path, config) / f"{explained.about['prefix']}_gradcam.png"
    explain.plots.sheet(groups, rows, explained.what, explained.about["title"], plot)
    print(f"{plot}: {len(right)} right and {len(wrong)} wrong test images")


def explain_pictures(path: Path, config: Config) -> int:
    """The same for a user's own pictures; returns how many could not be read."""
    explained, images, files, failed = Explained(path, config), [], [], 0
    for file in data.pictures.listed(config.images):
        try:
            pixels, _ = data.pictures.for_model(file, explained.about, explained.model.input_shape[1:])
            images.append(pixels)
            files.append(file.name)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            failed += 1
    if not images:
        raise UserError("none of the pictures could be read")
    images = np.stack(images)
    probabilities = models.saved_model.predict(explained.model, images)
    predicted = probabilities.argmax(axis=1)
    heat = explained.main_maps(images, predicted)
    captions = [
        f"{file}\npredicted: {explained.names[k]} ({p[k]:.0%})"
        for file, k, p in zip(files, predicted, probabilities, strict=True)
    ]
    rows = [[(image, caption, [one])] for image, caption, one in zip(images, captions, heat, strict=True)]
    plot = folder_for(path, config) / f"{explained.about['prefix']}_photos_gradcam.png"
    explain.plots.sheet({"image": [explained.score]}, rows, explained.what, explained.about["title"], plot)
    print(f"{plot}: {', '.join(caption.replace(chr(10), ' ') for caption in captions)}")
    return failed


def main(argv: list[str] | None = None) -> int:
    """Explain one model or all, 1 where some could not be; a missing model is named with the script that makes it."""
    config = parse(Config, argv, about=__doc__)
    if config.images:
        return 1 if explain_pictures(Path(config.model), config) else 0
    folder = Path(config.output_dir or "output")
    paths = [Path(config.model)] if config.model else models.saved_model.finished(folder)
    failed = []
    for path in paths:
        try:
            explain_test_images(path, config)
        except UserError as error:  # one that nothing explains, a vote for example, does not stop the others
            failed.append(error)
    if len(failed) == len(paths):
        raise failed[0]
    for error in failed:
        print(f"error: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
