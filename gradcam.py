"""Why a model decided as it did: heat maps of the evidence for a class.

    python gradcam.py                                              # every model in output/
    python gradcam.py --output-dir output/demo                     # those of the demo
    python gradcam.py --method grad-cam --layer block3_relu2 --model output/cifar100_cnn_scratch.h5
    python gradcam.py --model output/custom_cnn_model.h5 a.png b.jpg   # your own pictures
    python gradcam.py --model output/custom_cnn_model.h5 --target 4 --against 9 a.png   # why 4 and not 9

Writes <prefix>_gradcam.png (of each class the first test image that the model gets right, and the first
that it gets wrong) or <prefix>_photos_gradcam.png, beside the model; another explanation of test images than
the default one goes to demo/ there. benchmarks/faithfulness.py tests the methods.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.config import flag, parse
from pipeline.data import datasets, pictures
from pipeline.errors import UserError, exit_code
from pipeline.explain import explainer, plots
from pipeline.models import saved_model


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    model: str | None = flag(None, "one saved .h5 model; default: all in the output folder")
    method: str = flag(explainer.DEFAULT_METHOD, "how evidence is found", choices=explainer.METHODS)
    layer: str | None = flag(None, f"layer to explain, or {explainer.FUSED}: all stages; default: chosen for the model")
    target: str | None = flag(None, "class to explain, by name; default: the predicted one")
    against: str | None = flag(None, "second class, by name: explain why the first one and not this one")
    images: tuple[str, ...] = flag(
        (), "your own picture files, or folders of them; needs --model", positional="PICTURE"
    )
    data_dir: str | None = flag(None)
    output_dir: str | None = flag(None, "folder with the models [output], and for the pictures; default: see above")


def folder_for(path: Path, config: Config) -> Path:
    """Where a model's picture goes: of test images, what is not the default explanation to demo/; or --output-dir."""
    asked = (config.method, config.layer, config.target, config.against)
    usual = config.images or asked == (explainer.DEFAULT_METHOD, None, None, None)
    folder = Path(config.output_dir) if config.output_dir else path.parent if usual else path.parent / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def class_number(name: str | None, class_names: list[str]) -> int | None:
    """Place of a class in label order; UserError lists the names where there is no such class."""
    if name is not None and name not in class_names:
        raise UserError(f"there is no class {name}; the model's classes are {', '.join(class_names)}")
    return None if name is None else class_names.index(name)


class Subject:
    """One saved model with what the flags ask of it."""

    def __init__(self, path: Path, config: Config):
        self.about, self.model = saved_model.metadata(path), saved_model.load(path)
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
        """The method and its layers, for a figure's title."""
        where = [f"{len(self.layers)} fused stages"] if len(self.layers) > 1 else self.layers
        shown = "The model's reaction" if self.config.method == "eigen-cam" else "Evidence for a class"
        return " at ".join([f"{shown}: {self.config.method}", *where])

    @property
    def score(self) -> str:
        """What the first map of an example explains."""
        if self.config.method == "eigen-cam":
            return "whatever the class"
        against = f", not {self.config.against}" if self.config.against else ""
        return (self.config.target or "predicted class") + against

    def maps(self, images: np.ndarray, classes: np.ndarray, against: int | None = None) -> np.ndarray:
        """Heat maps (n, h, w) of these classes, one for each image."""
        other = None if against is None else np.full(len(classes), against)
        weights = explainer.score_weights(classes, len(self.names), other)
        return self.explainer(images, weights, self.config.method, self.config.layer)

    def main_maps(self, images: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Heat maps of what --target and --against ask for."""
        classes = predicted if self.target is None else np.full(len(predicted), self.target)
        return self.maps(images, classes, self.against)


def first_of_each_class(labels: np.ndarray, fits: np.ndarray) -> dict[int, int]:
    """Class -> index of its first image that fits; the first, so that nobody picked it."""
    classes, first = np.unique(labels[fits], return_index=True)
    return dict(zip(classes.tolist(), np.flatnonzero(fits)[first].tolist(), strict=True))


def explain(path: Path, config: Config) -> None:
    """A sheet with a row per class: a test image that the model gets right, and one that it gets wrong."""
    subject = Subject(path, config)
    names, dataset = subject.names, datasets.load(subject.about["dataset"], config.data_dir)
    images, labels = dataset.x_test, dataset.y_test
    probabilities = saved_model.predict(subject.model, images, what=f"test images through {path.name}")
    predicted = probabilities.argmax(axis=1)
    right, wrong = (first_of_each_class(labels, fits) for fits in (predicted == labels, predicted != labels))
    chosen = [*right.values(), *wrong.values()]
    main = dict(zip(chosen, subject.main_maps(images[chosen], predicted[chosen]), strict=True))
    asked = list(wrong.values()) if config.method != "eigen-cam" else []
    true = dict(zip(asked, subject.maps(images[asked], labels[asked]), strict=True)) if asked else {}

    def example(index: int | None, missing: str) -> plots.Example | str:
        if index is None:
            return missing
        guess, truth = predicted[index], labels[index]
        caption = f"true: {names[truth]} ({probabilities[index, truth]:.0%})\n"
        caption += f"predicted: {names[guess]} ({probabilities[index, guess]:.0%})"
        return images[index], caption, [main[index], true[index]] if index in true else [main[index]]

    rows = [
        [
            example(right.get(k), f"no test image of {names[k]} is right"),
            example(wrong.get(k), f"no test image of {names[k]} is wrong"),
        ]
        for k in range(len(names))
    ]
    groups = {"got right": [subject.score], "got wrong": [subject.score, *(["true class"] if asked else [])]}
    picture = folder_for(path, config) / f"{subject.about['prefix']}_gradcam.png"
    plots.sheet(groups, rows, subject.what, subject.about["title"], picture)
    print(f"{picture}: {len(right)} right and {len(wrong)} wrong test images")


def explain_photos(path: Path, config: Config) -> int:
    """The same for a user's own pictures; returns how many could not be read."""
    subject, images, files, failed = Subject(path, config), [], [], 0
    for file in pictures.listed(config.images):
        try:
            pixels, _ = pictures.for_model(file, subject.about["dataset"], subject.model.input_shape[1:])
            images.append(pixels)
            files.append(file.name)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            failed += 1
    if not images:
        raise UserError("none of the pictures could be read")
    images = np.stack(images)
    probabilities = saved_model.predict(subject.model, images)
    predicted = probabilities.argmax(axis=1)
    heat = subject.main_maps(images, predicted)
    captions = [
        f"{file}\npredicted: {subject.names[k]} ({p[k]:.0%})"
        for file, k, p in zip(files, predicted, probabilities, strict=True)
    ]
    rows = [[(image, caption, [one])] for image, caption, one in zip(images, captions, heat, strict=True)]
    picture = folder_for(path, config) / f"{subject.about['prefix']}_photos_gradcam.png"
    plots.sheet({"image": [subject.score]}, rows, subject.what, subject.about["title"], picture)
    print(f"{picture}: {', '.join(caption.replace(chr(10), ' ') for caption in captions)}")
    return failed


def main(argv: list[str] | None = None) -> int:
    """Explain one model or all, 1 where some could not be; a missing model is named with the script that makes it."""
    config = parse(Config, argv, about=__doc__)
    if config.images:
        if not config.model:
            raise UserError("own pictures need --model, the saved .h5 model that is to explain them")
        return 1 if explain_photos(Path(config.model), config) else 0
    paths = [Path(config.model)] if config.model else saved_model.finished(Path(config.output_dir or "output"))
    failed = []
    for path in paths:
        try:
            explain(path, config)
        except UserError as error:  # one that nothing explains, a vote for example, does not stop the others
            failed.append(error)
    if len(failed) == len(paths):
        raise failed[0]
    for error in failed:
        print(f"error: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
