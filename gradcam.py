"""Why a model decided as it did: Grad-CAM heat maps for the saved models.

    python gradcam.py                                              # every model in output/
    python gradcam.py --output-dir output/demo                     # those of the demo
    python gradcam.py --model output/custom_cnn_model.h5 a.png b.jpg   # your own pictures

Writes <prefix>_gradcam.png (right and wrong test images) or <prefix>_photos_gradcam.png.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import artifacts, cam, data, photos, plots
from pipeline.cli import flag, parse
from pipeline.errors import BadInput, run


@dataclass(frozen=True)
class Config:
    """Every knob; each is a flag, see --help."""

    model: str | None = flag(None, "one saved .h5 model; default: all in the output folder")
    layer: str | None = flag(None, "layer to explain; default: the deepest activation with a map of 4x4 or more")
    images: tuple[str, ...] = flag((), "your own picture files; needs --model", positional="PICTURE")
    examples: int = flag(5, "right and wrong test images to show, of each", minimum=1)
    data_dir: str | None = flag(None)
    output_dir: str = flag("output", "folder with the models, and for the pictures")


def explain(path: Path, config: Config) -> None:
    """A sheet of test images that one model gets right, and of images it gets wrong."""
    about, model = artifacts.about_model(path), artifacts.load_model(path)
    dataset = data.load(about["dataset"], config.data_dir)
    # The first thousand hold examples enough; explaining needs no figure over the whole test set.
    images, labels = dataset.x_test[:1000], dataset.y_test[:1000]
    probabilities = artifacts.predict(model, images)
    predicted = probabilities.argmax(axis=1)
    right = np.flatnonzero(predicted == labels)[: config.examples]
    wrong = np.flatnonzero(predicted != labels)[: config.examples]
    chosen = np.concatenate([right, wrong])
    heat = cam.grad_cam(model, images[chosen], predicted[chosen], config.layer)
    names = about["class_names"]
    captions = [
        f"true: {names[labels[i]]}\npredicted: {names[predicted[i]]} ({probabilities[i, predicted[i]]:.0%})"
        for i in chosen
    ]
    title = f"{about['title']}, layer {config.layer or cam.default_layer(model)}"
    picture = Path(config.output_dir) / f"{about['prefix']}_gradcam.png"
    plots.heat_maps(images[chosen], heat, captions, len(right), title, picture)
    print(f"{picture}: {len(right)} right and {len(wrong)} wrong test images")


def explain_photos(path: Path, config: Config) -> int:
    """The same for a user's own pictures; returns how many could not be read."""
    about, model = artifacts.about_model(path), artifacts.load_model(path)
    images, names, failed = [], [], 0
    for file in config.images:
        try:
            images.append(photos.read(file, model.input_shape[1:]))
            names.append(Path(file).name)
        except BadInput as error:
            print(f"error: {error}", file=sys.stderr)
            failed += 1
    if not images:
        raise BadInput("none of the pictures could be read")
    images = np.stack(images)
    probabilities = artifacts.predict(model, images)
    predicted = probabilities.argmax(axis=1)
    heat = cam.grad_cam(model, images, predicted, config.layer)
    captions = [
        f"{name}\npredicted: {about['class_names'][k]} ({p[k]:.0%})"
        for name, k, p in zip(names, predicted, probabilities, strict=True)
    ]
    title = f"{about['title']}, layer {config.layer or cam.default_layer(model)}"
    picture = Path(config.output_dir) / f"{about['prefix']}_photos_gradcam.png"
    plots.heat_maps(images, heat, captions, len(images), title, picture)
    print(f"{picture}: {', '.join(caption.replace(chr(10), ' ') for caption in captions)}")
    return failed


def main(argv: list[str] | None = None) -> int:
    """Explain one model or all; a missing model is named with the script that makes it."""
    config = parse(Config, argv, about=__doc__)
    if config.images:
        if not config.model:
            raise BadInput("own pictures need --model, the saved .h5 model that is to explain them")
        return 1 if explain_photos(Path(config.model), config) else 0
    if config.model:
        explain(Path(config.model), config)
        return 0
    for path in artifacts.finished_models(Path(config.output_dir)):
        explain(path, config)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
