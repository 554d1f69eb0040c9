"""What a saved or exported model sees in your pictures: the three likeliest classes of each.

    python predict.py output/custom_cnn_model.onnx photo.png scan.jpg
    python predict.py output/custom_cnn_model.h5 folder_with_pictures
    python predict.py output/custom_cnn_model_int8.tflite photo.png --json

Any size, color or gray. For the digit models the digits may stand anywhere, dark on light or light on dark; several
in one picture are read as a number. What is unlike the training images is marked (--json: novelty above 1). Exit
code 1: some pictures could not be read (each is named); 2: none could.
"""

import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.atomic_io import replacing
from pipeline.config import flag, parse

# Nothing here may import Keras or TensorFlow: an exported model is to answer at once.
from pipeline.data import digits, pictures
from pipeline.deploy import runtimes
from pipeline.errors import UserError, exit_code
from pipeline.system import cores

TOP = 3
BATCH = 256  # pictures per call of the model
SHOWN = 30  # pictures in one --show, which is one image


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    model: str = flag("", "saved .h5 or exported .onnx or .tflite model", positional="MODEL")
    images: tuple[str, ...] = flag((), "picture files, or folders of them", positional="PICTURE")
    json: bool = flag(False, "one JSON document instead of the table")
    single: bool = flag(False, "read one digit per picture, the largest")
    show: str | None = flag(None, "write the pictures and what the model saw of them to this .png or .jpg")


@dataclass(frozen=True)
class Seen:
    """What the model takes from one picture: pixels (h, w, c) uint8 of each digit, or of the whole picture.

    boxes: left, top, right, bottom of each digit in the upright picture; None where the model is not of digits.
    """

    path: Path
    pixels: list[np.ndarray]
    inverted: list[bool]
    boxes: list[tuple[int, int, int, int]] | None


def read(path: Path, model: runtimes.Opened, single: bool) -> Seen:
    """Read one picture for a model, one digit of it if single. UserError where it cannot be read."""
    if not pictures.are_digits(model.about):
        return Seen(path, [pictures.read(path, model.image_shape)], [False], None)
    found = pictures.read_digits(path)
    if single:
        found = [digits.largest(found)]
    return Seen(
        path, [digit.pixels for digit in found], [digit.inverted for digit in found], [digit.box for digit in found]
    )


def read_all(paths: list[Path], model: runtimes.Opened, single: bool) -> list[Seen]:
    """Every picture that can be read; the others are named on stderr."""
    seen = []
    for path in paths:
        try:
            seen.append(read(path, model, single))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
    return seen


def predictions(pictures_seen: list[Seen], model: runtimes.Opened) -> list[dict]:
    """Likeliest classes and preprocessing of each picture; for digits also the number, and each digit with its box.

    `novelty`, where the model has it, is above 1 for what is unlike its training images; then `foreign` is true.
    `predictions` and `inverted` of a picture with several digits are those of its largest one.
    """
    if not pictures_seen:
        return []
    pixels = np.stack([image for seen in pictures_seen for image in seen.pixels]).astype(np.float32)
    rows = iter(model.predict(pixels))
    scores = iter(model.novelty(pixels)) if model.novelty else None
    results = []
    for seen in pictures_seen:
        answers = [
            {"inverted": inverted, "predictions": likeliest(next(rows), model.about["class_names"])}
            for inverted in seen.inverted
        ]
        if scores:
            for answer in answers:
                novelty = float(next(scores))
                answer.update(novelty=novelty, foreign=novelty > 1)
        if seen.boxes is None:
            results.append({"image": str(seen.path), **answers[0]})
            continue
        found = [{"box": box, **answer} for box, answer in zip(seen.boxes, answers, strict=True)]
        number = "".join(answer["predictions"][0]["class"] for answer in answers)
        main = answers[int(np.argmax([digits.area(box) for box in seen.boxes]))]
        results.append({"image": str(seen.path), **main, "number": number, "digits": found})
    return results


def likeliest(probabilities: np.ndarray, names: list[str]) -> list[dict]:
    """The TOP classes of one row of probabilities, best first."""
    best = np.argsort(-probabilities, kind="stable")[:TOP]
    return [{"class": names[k], "probability": float(probabilities[k])} for k in best]


def show(shown: list[tuple[Seen, dict]], path: Path) -> None:
    """Write each picture, with a frame around its digits, and beside it what the model saw of it and answered."""
    side, cell, gap, lines = 300, 112, 12, 44
    font = ImageFont.load_default(16)
    rows = []
    for seen, result in shown:
        picture = pictures.outlined(seen.path, seen.boxes or [], side)
        width = side + (cell + gap) * len(seen.pixels) + gap
        row = Image.new("RGB", (width, max(picture.height, cell + lines)), "white")
        row.paste(picture)
        answers = result.get("digits", [result])
        for k, (pixels, answer) in enumerate(zip(seen.pixels, answers, strict=True)):
            image = Image.fromarray(pixels.squeeze()).convert("RGB").resize((cell, cell), Image.Resampling.NEAREST)
            place = (side + gap + k * (cell + gap), 0)
            row.paste(image, place)
            best = answer["predictions"][0]
            text = f"{best['class']} {best['probability']:.1%}"
            if answer.get("foreign"):
                text += "\nunfamiliar"
            ImageDraw.Draw(row).text((place[0], cell + 4), text, fill="black", font=font)
        rows.append(row)
    height = sum(row.height + gap for row in rows) - gap
    sheet = Image.new("RGB", (max(row.width for row in rows), height), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height + gap
    with replacing(path) as temporary:
        sheet.save(temporary)


class Table:
    """The table on stdout: its columns, as wide as their longest entries.

    A picture is called by its file's name, or by its whole path where another file has the same name.
    """

    def __init__(self, paths: list[Path], about: dict):
        counts = Counter(path.name for path in paths)
        self.names = {str(path): path.name if counts[path.name] == 1 else str(path) for path in paths}
        self.first = max(map(len, self.names.values())) + 2
        self.cell = max(map(len, about["class_names"])) + 2
        self.foreign = pictures.foreign(about)

    def head(self) -> str:
        cells = "".join(f"{name:<{self.cell + 9}}" for name in ("  first", "  second", "  third"))
        return f"{'picture':<{self.first}}{cells}".rstrip()

    def rows(self, result: dict) -> str:
        """A picture's row; where it has several digits, the number, and a row for each digit with its place."""
        name, found = self.names[result["image"]], result.get("digits", [])
        if len(found) < 2:
            return self.row(name, result)
        lines = [f"{name:<{self.first}}{len(found)} digits: {result['number']}"]
        for digit in found:
            left, top, right, bottom = digit["box"]
            lines.append(self.row("", digit) + f"  at {left}-{right}, {top}-{bottom}")
        return "\n".join(lines)

    def row(self, name: str, answer: dict) -> str:
        cells = "".join(f"{one['probability']:>7.1%}  {one['class']:<{self.cell}}" for one in answer["predictions"])
        note = "  (dark on light, inverted)" if answer["inverted"] else ""
        if answer.get("foreign"):
            note += f"  ({self.foreign})"
        return f"{name:<{self.first}}{cells}{note}".rstrip()


def main(argv: list[str] | None = None) -> int:
    """Open the model once, then batch after batch of pictures; a broken one does not stop the others."""
    config = parse(Config, argv, about=__doc__)
    if not config.images:
        raise UserError("no picture given; name picture files or a folder of them after the model")
    if config.show and Path(config.show).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(f"--show {config.show} must end in .png or .jpg")
    path = Path(config.model)
    model = runtimes.exact_export(path, cores())
    if model:
        print(f"answered by the ONNX export of {path}, which gives the same without TensorFlow", file=sys.stderr)
    else:
        model = runtimes.open_model(path, cores())
    if "dataset" not in model.about:
        raise UserError(
            f"{path} does not say what it was trained on and how it takes pixels; adopt the Keras model that it was "
            "made from by import_model.py, then export that by export_model.py"
        )
    if runtimes.is_outdated(path, model.about):
        earlier = f"an earlier {runtimes.source_path(path).name} than the one beside it"
        print(f"warning: {path} was made from {earlier}; run export_model.py again", file=sys.stderr)
    paths = pictures.listed(config.images)
    if config.show and len(paths) > SHOWN:
        raise UserError(f"--show takes at most {SHOWN} pictures, not {len(paths):,}; name some of them")
    table = Table(paths, model.about)
    results, shown = [], []
    for start in range(0, len(paths), BATCH):
        seen = read_all(paths[start : start + BATCH], model, config.single)
        found = predictions(seen, model)
        if config.show:
            shown += zip(seen, found, strict=True)
        if found and not config.json:
            lines = [table.rows(result) for result in found]
            if not results:
                lines.insert(0, table.head())
            print("\n".join(lines), flush=True)
        results += found
    if shown:
        show(shown, Path(config.show))
    if config.json:
        about = {key: model.about[key] for key in ("title", "dataset") if key in model.about}
        print(json.dumps({"model": config.model, **about, "images": results}, indent=1))
    if not results:
        return 2
    return 0 if len(results) == len(paths) else 1


if __name__ == "__main__":
    sys.exit(exit_code(main))
