"""What a saved or exported model sees in your pictures: the three likeliest classes of each.

    python predict.py output/custom_cnn_model.onnx photo.png scan.jpg
    python predict.py output/custom_cnn_model.h5 folder_with_pictures
    python predict.py output/custom_cnn_model_int8.tflite photo.png --json

Any size, colour or grey. For the digit models a digit may stand anywhere, dark on light or light on
dark. Exit code 1: some pictures could not be read (each is named); 2: none could.
"""

import json
import sys
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


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    model: str = flag("", "saved .h5 or exported .onnx or .tflite model", positional="MODEL")
    images: tuple[str, ...] = flag((), "picture files, or folders of them", positional="PICTURE")
    json: bool = flag(False, "one JSON document instead of the table")


def seen(path: Path, model: runtimes.Opened) -> dict:
    """The likeliest classes of one picture, with what was done to it; UserError if it cannot be read."""
    pixels, inverted = pictures.for_model(path, model.about.get("dataset"), model.image_shape)
    probabilities = model.predict(pixels[None].astype(np.float32))[0]
    best = np.argsort(-probabilities, kind="stable")[:TOP]
    classes = [{"class": model.about["class_names"][k], "probability": float(probabilities[k])} for k in best]
    return {"image": str(path), "inverted": inverted, "predictions": classes}


def row(result: dict, width: int, cell: int) -> str:
    """One line of the table."""
    cells = [f"{one['probability']:>7.1%}  {one['class']:<{cell}}" for one in result["predictions"]]
    note = "  (dark on light, inverted)" if result["inverted"] else ""
    return f"{result['image']:<{width}}{''.join(cells)}{note}".rstrip()


def main(argv: list[str] | None = None) -> int:
    """Open the model once, then picture after picture; a broken one does not stop the others."""
    config = parse(Config, argv, about=__doc__)
    if not config.images:
        raise UserError("no picture given; name picture files or a folder of them after the model")
    model = runtimes.open_model(config.model, cores())
    paths = pictures.listed(config.images)
    width = max(len(str(path)) for path in paths) + 2
    cell = max(map(len, model.about["class_names"])) + 2
    results = []
    for path in paths:
        try:
            results.append(seen(path, model))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            continue
        if not config.json:
            if len(results) == 1:
                heads = "".join(f"{name:<{cell + 9}}" for name in ("  first", "  second", "  third"))
                print(f"{'picture':<{width}}{heads}".rstrip())
            print(row(results[-1], width, cell), flush=True)
    if config.json:
        about = {key: model.about[key] for key in ("title", "dataset") if key in model.about}
        print(json.dumps({"model": config.model, **about, "images": results}, indent=1))
    if not results:
        return 2
    return 0 if len(results) == len(paths) else 1


if __name__ == "__main__":
    sys.exit(exit_code(main))
