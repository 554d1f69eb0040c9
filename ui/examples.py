"""Test images to try: the first of each class, so that nobody picked them. No Gradio here."""

import functools
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.data import datasets, registry, sources
from ui import texts


def is_here(dataset: str, data_dir: str | None) -> bool:
    """Whether a data set is known by its name and on this computer; the page downloads nothing."""
    if dataset not in registry.SOURCES:
        return False
    return registry.is_toy(dataset) or bool(sources.present(dataset, sources.folders(data_dir)))


def shown(dataset: str | None, data_dir: str | None) -> str | None:
    """The data set whose images are shown for one: itself, the toy digits for MNIST's, None where it is not here."""
    if is_here(str(dataset), data_dir):
        return dataset
    return "digits" if dataset == "mnist" else None


@functools.lru_cache
def first_of_each_class(dataset: str, data_dir: str | None, folder: Path) -> list[tuple[Path, str]]:
    """File and class name of each image.

    Args:
        dataset: name of a data set that is here.
        folder: where the images are written, as PNG.
    Raises:
        UserError: a damaged data file.
    """
    loaded = datasets.load(dataset, data_dir)
    images = []
    for k, class_name in enumerate(loaded.class_names):
        path = folder / f"{dataset}-{k}.png"
        Image.fromarray(loaded.x_test[np.argmax(loaded.y_test == k)].squeeze()).save(path)
        images.append((path, class_name))
    return images


def title(dataset: str | None, language: str) -> str:
    """A data set's name for people."""
    if dataset not in registry.SOURCES:
        return dataset or texts.say("unknown_data", language)
    return texts.term(registry.title(dataset), language)
