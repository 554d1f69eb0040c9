"""Explanations of a model's predictions: Grad-CAM, and beside it the explanation that proved more faithful.

The other one is by default "aggregate": the weighted mean of Grad-CAM and expected gradients.

    python gradcam.py                                              # every model in output/
    python gradcam.py --output-dir output/demo                     # those of the demo
    python gradcam.py output/cifar100_cnn_scratch.h5 --method layer-cam --layer block2_relu2
    python gradcam.py output/custom_cnn_model.h5 a.png b.jpg       # your own pictures
    python gradcam.py output/custom_cnn_model.h5 a.png --target 4 --against 9   # why 4 and not 9

Writes beside the model <prefix>_gradcam.png, a page of eight test images (of the most confused classes the first that
the model gets right, and the first that it takes for the other), and <prefix>_gradcam_all.png, a sheet of the first
right and the first wrong one of every class; of your own pictures <prefix>_photos_gradcam.png. Another explanation of
test images than the default one goes to demo/ there. Of all models together gradcam_overview.png, six images.
benchmarks/faithfulness.py tests the methods.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import data, evaluate, explain, models
from pipeline.config import flag, parse
from pipeline.console import percent
from pipeline.errors import UserError, exit_code
from pipeline.explain import explainer

PAGE = 8  # examples on the page
OVERVIEW = 6  # examples of all data sets together
KEY = "The brighter, the more evidence; grey: none"  # to the colors of an overlay


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    model: str | None = flag(None, "one saved .h5 model; default: all in the output folder", positional="MODEL")
    images: tuple[str, ...] = flag((), "your own picture files, or folders of them", positional="PICTURE")
    method: str = flag(explainer.DEFAULT_METHOD, "explanation beside Grad-CAM", choices=explainer.METHODS)
    layer: str | None = flag(None, f"layer to explain, or {explainer.FUSED}: all stages; default: chosen for the model")
    thorough: bool = flag(False, f"{explainer.DEFAULT_METHOD} from 160 gradients per image instead of 8")
    target: str | None = flag(None, "class to explain, by name; default: the predicted one")
    against: str | None = flag(None, "second class, by name: explain why the first one and not this one")
    data_dir: str | None = flag(None)
    output_dir: str | None = flag(None, "folder with the models [output], and for the pictures; default: see above")


def folder_for(path: Path, config: Config) -> Path:
    """Folder for a model's plot; test images with another explanation than the default one go to demo/ in it."""
    asked = (config.method, config.layer, config.target, config.against, config.thorough)
    if config.output_dir:
        folder = Path(config.output_dir)
    elif config.images or asked == (explainer.DEFAULT_METHOD, None, None, None, False):
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
        if config.thorough and config.method != explainer.DEFAULT_METHOD:
            raise UserError(f"--thorough is for --method {explainer.DEFAULT_METHOD}")
        self.explainer = explainer.Explainer(self.model)
        # Grad-CAM always, as the script's name says; both at the layer that is asked for.
        self.methods = list(dict.fromkeys(("grad-cam", config.method)))
        self.layers = {method: self.explainer.layers(method, config.layer) for method in self.methods}

    @property
    def heads(self) -> list[str]:
        """Column head of each method's maps: its name and where it looks. Grad-CAM's own column stands before."""
        found = []
        for method, layers in self.layers.items():
            where = f" ({len(layers)} stages)" if len(layers) > 1 else ""
            found.append(explainer.NAMES[method].removeprefix("Grad-CAM ") + where)
        return found

    @property
    def what(self) -> str:
        """What is explained, for a plot's title."""
        if self.config.method == "eigen-cam":
            return "What the model reacts to, whatever the class"
        found = f"Evidence for {self.config.target or 'the predicted class'}"
        if self.config.against:
            found += f" and against {self.config.against}"
        return found

    def maps(self, images: np.ndarray, classes: np.ndarray, against: int | None = None) -> dict[str, np.ndarray]:
        """Method -> heat maps (n, h, w) float32 in [0, 1] of these classes (n,), one for each image."""
        other = None if against is None else np.full(len(classes), against)
        weights = explainer.score_weights(classes, len(self.names), other)
        found = {}
        for method in self.methods:
            thorough = self.config.thorough and method == self.config.method
            found[method] = self.explainer(images, weights, method, self.config.layer, thorough)
        return found

    def main_maps(self, images: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
        """Heat maps of the classes that --target and --against name; without them, of the predicted ones."""
        classes = predicted if self.target is None else np.full(len(predicted), self.target)
        return self.maps(images, classes, self.against)

    def sentence(self, heat: np.ndarray) -> str:
        """Where the evidence lies by a heat map of the last method, in words."""
        return f"evidence: {explain.verdict.where(heat)}"

    def finding(self, heat_maps: list[np.ndarray]) -> str:
        """A page's title: what is explained, and on how much of the images half of it lies by the last method."""
        extents = [explain.verdict.extent(heat) for heat in heat_maps if heat.any()]
        if not extents:
            return f"{self.what}: none was found"
        least, most = (f"{extent:.0%}" for extent in (min(extents), max(extents)))
        part = most if least == most else f"{least.rstrip('%')} to {most}"
        return f"{self.what}: half of it lies on {part} of the image"

    @property
    def note(self) -> str:
        """A page's footer: the model, and how to read the colors."""
        return f"{self.about['title']}. {KEY}"


def first_of_each_class(labels: np.ndarray, fits: np.ndarray) -> dict[int, int]:
    """Class -> index of its first image for which `fits` (n,) bool is true: a choice that is not cherry-picked."""
    classes, first = np.unique(labels[fits], return_index=True)
    return dict(zip(classes.tolist(), np.flatnonzero(fits)[first].tolist(), strict=True))


def confused_examples(labels: np.ndarray, predicted: np.ndarray, n_classes: int, most: int = PAGE) -> list[int]:
    """Indices of a page's images, at most so many, right and wrong ones in turn.

    For each of the most frequent confusions of a class with another: the first image of the class that is right, and
    the first one that is taken for the other. A class appears once.
    """
    confusions = evaluate.metrics.confusion_matrix(labels, predicted, n_classes)
    np.fill_diagonal(confusions, 0)
    chosen, seen = [], set()
    for place in np.argsort(-confusions, axis=None, kind="stable"):
        truth, other = divmod(int(place), n_classes)
        right = np.flatnonzero((labels == truth) & (predicted == truth))
        wrong = np.flatnonzero((labels == truth) & (predicted == other))
        if not confusions[truth, other] or len(chosen) == most:
            break
        if truth not in seen and len(right):
            seen.add(truth)
            chosen += [int(right[0]), int(wrong[0])]
    return chosen


def explain_test_images(path: Path, config: Config) -> tuple[Explained, "data.datasets.Dataset", np.ndarray]:
    """Page of eight test images, and sheet with a row per class: one that the model gets right, and one it does not.

    Returns:
        The model, its data and its test probabilities (n, n_classes).
    """
    explained = Explained(path, config)
    names = explained.names
    dataset = data.datasets.of_model(explained.saved, config.data_dir)
    probabilities = models.probabilities.on_test_images(explained.saved, dataset)
    folder, prefix, title = folder_for(path, config), explained.about["prefix"], explained.about["title"]
    page, sheet = folder / f"{prefix}_gradcam.png", folder / f"{prefix}_gradcam_all.png"
    draw_page(explained, dataset, probabilities, page)
    draw_sheet(explained, dataset, probabilities, title, sheet)
    print(f"{page}: {explained.what}; {sheet}: {len(names)} classes")
    return explained, dataset, probabilities


def draw_page(explained: Explained, dataset, probabilities: np.ndarray, plot: Path) -> None:
    """Large examples of the most confused classes; without any confusion the first right images of the classes."""
    labels, predicted = dataset.y_test, probabilities.argmax(axis=1)
    chosen = confused_examples(labels, predicted, len(explained.names))
    chosen = chosen or list(first_of_each_class(labels, predicted == labels).values())[:PAGE]
    chosen = chosen or list(range(min(PAGE, len(labels))))
    maps = explained.main_maps(dataset.x_test[chosen], predicted[chosen])
    examples = []
    for place, index in enumerate(chosen):
        best, truth, fine = predicted[index], labels[index], fine_class(dataset, index)
        verdict = "right" if best == truth else f"wrong, it is {explained.names[truth]}"
        if fine not in ("", explained.names[truth]):
            verdict += f" ({fine})"
        of_image = [of_method[place] for of_method in maps.values()]
        caption = f"{explained.names[best]} ({probabilities[index, best]:.0%}), {verdict}\n"
        caption += explained.sentence(of_image[-1])
        examples.append((dataset.x_test[index], caption, of_image))
    finding = explained.finding([of_image[-1] for _, _, of_image in examples])
    explain.plots.page(explained.heads, examples, finding, explained.note, plot)


def fine_class(dataset, index: int) -> str:
    """Fine class of a test image of CIFAR-100; "" in other data sets."""
    if dataset.fine_test is None:
        return ""
    return data.cifar100_labels.CIFAR100_FINE[dataset.fine_test[index]]


def draw_sheet(explained: Explained, dataset, probabilities: np.ndarray, title: str, plot: Path) -> None:
    """A row per class: its first right and its first wrong test image, by the method beside Grad-CAM."""
    names, images, labels = explained.names, dataset.x_test, dataset.y_test
    predicted, method = probabilities.argmax(axis=1), explained.methods[-1]
    right = first_of_each_class(labels, predicted == labels)
    wrong = first_of_each_class(labels, predicted != labels)
    chosen = [*right.values(), *wrong.values()]
    main = dict(zip(chosen, explained.main_maps(images[chosen], predicted[chosen])[method], strict=True))
    true, asked = {}, list(wrong.values())
    if asked and method != "eigen-cam":
        true = dict(zip(asked, explained.maps(images[asked], labels[asked])[method], strict=True))

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
    score = explained.config.target or "predicted class"
    if method == "eigen-cam":
        score = "whatever the class"
    elif explained.config.against:
        score += f", not {explained.config.against}"
    groups = {"got right": [score], "got wrong": [score, *(["true class"] if true else [])]}
    provenance = f"{title}. {explainer.NAMES[method]}, of the first right and the first wrong test image of each class"
    explain.plots.sheet(groups, rows, explained.finding(list(main.values())), provenance, plot)


def draw_overview(shown: list[tuple], plot: Path) -> None:
    """Large examples that a model of each data set gets right; no plot where none gets any right.

    Args:
        shown: of each model, as of explain_test_images().
    """
    first = {}
    for explained, dataset, probabilities in shown:
        if dataset.name in first:
            continue
        examples = right_examples(explained, dataset, probabilities)
        if examples:
            first[dataset.name] = (explained.about["title"], examples)
    if not first:
        return
    titles = [title for title, _ in first.values()]
    examples = [example for _, of_model in first.values() for example in of_model[: OVERVIEW // len(first)]]
    finding = f"{len(examples)} right answers, and the part of each image that they rest on"
    footer = f"Of the most confused classes the first test image that is right; {'; '.join(titles)}. {KEY}"
    explain.plots.overview(examples, finding, footer, plot)
    print(plot)


def right_examples(explained: Explained, dataset, probabilities: np.ndarray) -> list:
    """Of each of the most confused classes the first test image that is right, with answer, truth and heat map."""
    names = explained.names
    labels, predicted = dataset.y_test, probabilities.argmax(axis=1)
    chosen = confused_examples(labels, predicted, len(names), 2 * OVERVIEW)[::2]  # without the wrong ones
    chosen = chosen or list(first_of_each_class(labels, predicted == labels).values())[:OVERVIEW]
    if not chosen:
        return []
    maps = explained.main_maps(dataset.x_test[chosen], predicted[chosen])[explained.methods[-1]]
    examples = []
    for index, heat in zip(chosen, maps, strict=True):
        answer = f"answer: {names[predicted[index]]}, {percent(probabilities[index].max(), 0)}"
        truth = fine_class(dataset, index) or names[labels[index]]
        examples.append((dataset.x_test[index], answer, f"image: {truth}", heat))
    return examples


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
    maps = explained.main_maps(images, predicted)
    examples = []
    for place, (file, best) in enumerate(zip(files, predicted, strict=True)):
        of_image = [of_method[place] for of_method in maps.values()]
        said = f"{file}: {explained.names[best]} ({probabilities[place, best]:.0%})"
        sentence = explained.sentence(of_image[-1])
        print(f"{said}; {sentence}")
        examples.append((images[place], f"{said}\n{sentence}", of_image))
    plot = folder_for(path, config) / f"{explained.about['prefix']}_photos_gradcam.png"
    finding = explained.finding([of_image[-1] for _, _, of_image in examples])
    explain.plots.page(explained.heads, examples, finding, explained.note, plot)
    print(plot)
    return failed


def main(argv: list[str] | None = None) -> int:
    """Explain one model or all, 1 where some could not be; a missing model is named with the script that makes it."""
    config = parse(Config, argv, about=__doc__)
    if config.images:
        return 1 if explain_pictures(Path(config.model), config) else 0
    folder = Path(config.output_dir or "output")
    paths = [Path(config.model)] if config.model else models.saved_model.finished(folder)
    shown, failed = [], []
    for path in paths:
        try:
            shown.append(explain_test_images(path, config))
        except UserError as error:  # one that nothing explains, a vote for example, does not stop the others
            failed.append(error)
    if len(failed) == len(paths):
        raise failed[0]
    if not config.model and folder_for(paths[0], config) == folder:
        draw_overview(shown, folder / "gradcam_overview.png")
    for error in failed:
        print(f"error: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
