"""What a saved or exported model sees in your pictures: the three likeliest classes of each.

    python predict.py output/custom_cnn_model.onnx photo.png scan.jpg
    python predict.py output/custom_cnn_model.h5 folder_with_pictures
    python predict.py output/custom_cnn_model_int8.tflite photo.png --json

Any size, color or gray. For the digit models a digit may stand anywhere, dark on light or light on
dark. Exit code 1: some pictures could not be read (each is named); 2: none could.
"""

import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.config import flag, parse

# Nothing here may import Keras or TensorFlow: an exported model is to answer at once.
from pipeline.data import pictures
from pipeline.deploy import runtimes
from pipeline.errors import UserError, exit_code
from pipeline.system import cores

TOP = 3
BATCH = 256  # pictures per call of the model


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    model: str = flag("", "saved .h5 or exported .onnx or .tflite model", positional="MODEL")
    images: tuple[str, ...] = flag((), "picture files, or folders of them", positional="PICTURE")
    json: bool = flag(False, "one JSON document instead of the table")


def predictions(paths: list[Path], model: runtimes.Opened) -> list[dict]:
    """Path, likeliest classes and preprocessing of each picture that can be read; the others are named on stderr."""
    pixels, results = [], []
    for path in paths:
        try:
            image, inverted = pictures.for_model(path, model.about.get("dataset"), model.image_shape)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            continue
        pixels.append(image)
        results.append({"image": str(path), "inverted": inverted})
    if not pixels:
        return []
    probabilities = model.predict(np.stack(pixels).astype(np.float32))
    names = model.about["class_names"]
    for result, row in zip(results, probabilities, strict=True):
        best = np.argsort(-row, kind="stable")[:TOP]
        result["predictions"] = [{"class": names[k], "probability": float(row[k])} for k in best]
    return results


class Table:
    """The table on stdout: its columns, as wide as their longest entries.

    A picture is called by its file's name, or by its whole path where another file has the same name.
    """

    def __init__(self, paths: list[Path], class_names: list[str]):
        counts = Counter(path.name for path in paths)
        self.names = {str(path): path.name if counts[path.name] == 1 else str(path) for path in paths}
        self.first = max(map(len, self.names.values())) + 2
        self.cell = max(map(len, class_names)) + 2

    def head(self) -> str:
        cells = "".join(f"{name:<{self.cell + 9}}" for name in ("  first", "  second", "  third"))
        return f"{'picture':<{self.first}}{cells}".rstrip()

    def row(self, result: dict) -> str:
        cells = "".join(f"{one['probability']:>7.1%}  {one['class']:<{self.cell}}" for one in result["predictions"])
        note = "  (dark on light, inverted)" if result["inverted"] else ""
        return f"{self.names[result['image']]:<{self.first}}{cells}{note}".rstrip()


def main(argv: list[str] | None = None) -> int:
    """Open the model once, then batch after batch of pictures; a broken one does not stop the others."""
    config = parse(Config, argv, about=__doc__)
    if not config.images:
        raise UserError("no picture given; name picture files or a folder of them after the model")
    model = runtimes.open_model(config.model, cores())
    path = Path(config.model)
    if runtimes.is_outdated(path, model.about):
        earlier = f"an earlier {runtimes.source_path(path).name} than the one beside it"
        print(f"warning: {path} was made from {earlier}; run export_model.py again", file=sys.stderr)
    paths = pictures.listed(config.images)
    table = Table(paths, model.about["class_names"])
    results = []
    for start in range(0, len(paths), BATCH):
        found = predictions(paths[start : start + BATCH], model)
        if found and not config.json:
            lines = [table.row(result) for result in found]
            if not results:
                lines.insert(0, table.head())
            print("\n".join(lines), flush=True)
        results += found
    if config.json:
        about = {key: model.about[key] for key in ("title", "dataset") if key in model.about}
        print(json.dumps({"model": config.model, **about, "images": results}, indent=1))
    if not results:
        return 2
    return 0 if len(results) == len(paths) else 1


if __name__ == "__main__":
    sys.exit(exit_code(main))
