"""Saved models as ONNX, LiteRT and SavedModel, each checked against Keras on the test images.

    python export_model.py output/custom_cnn_model.h5                # every format, beside the model
    python export_model.py output/custom_cnn_model.h5 --format onnx
    python export_model.py --output-dir output/demo                  # every finished model there

Needs the packages of requirements-export.txt. For a model MODEL.h5 it writes MODEL.onnx,
MODEL_float32.tflite, MODEL_float16.tflite, MODEL_int8.tflite and the folder MODEL_saved_model. An export
that fails its check is not kept, and the exit code is 1; MODEL_exports.json says what was measured.
BatchNorm is folded into the layers before it.
"""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pipeline import atomic_io, backend
from pipeline.atomic_io import sha256
from pipeline.backend import keras
from pipeline.config import flag, parse
from pipeline.data import datasets
from pipeline.deploy import export
from pipeline.errors import UserError, exit_code
from pipeline.models import saved_model


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    models: tuple[str, ...] = flag((), "saved .h5 models; default: all in the output folder", positional="MODEL")
    format: str = flag("all", "one format, or all", choices=("all", *export.SUFFIXES))
    calibration: int = flag(100, "training images that int8 takes its value ranges from", minimum=10)
    data_dir: str | None = flag(None)
    output_dir: str | None = flag(None, "folder for the exports; default: beside each model")


def calibration_images(dataset: datasets.Dataset, n: int) -> np.ndarray:
    """n training images, evenly over the data set's order; the test set plays no part in this choice.

    On CIFAR-100's validation images 50, 200 and 1,000 of them gave int8 models equally close to Keras.
    """
    return dataset.x_train[np.linspace(0, len(dataset.x_train) - 1, min(n, len(dataset.x_train))).astype(int)]


def export_model(path: Path, config: Config) -> list[export.Check]:
    """Every format asked for of one model, with a line for each and MODEL_exports.json for all."""
    about, model = saved_model.metadata(path), saved_model.load(path)
    dataset = datasets.load(about["dataset"], config.data_dir)
    folder = Path(config.output_dir) if config.output_dir else path.parent
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{about['title']}, checked on {len(dataset.x_test):,} test images", flush=True)
    expected = saved_model.predict(model, dataset.x_test, what="test images through Keras")
    graph = export.fold_batch_norm(model)
    about = {**about, "source_sha256": sha256(path)}
    calibration = calibration_images(dataset, config.calibration)
    checks, record = [], folder / f"{path.stem}_exports.json"
    for form in export.SUFFIXES if config.format == "all" else (config.format,):
        target = folder / f"{path.stem}{export.SUFFIXES[form]}"
        print(f"converting to {form}", flush=True)
        check = export.export(graph, form, target, calibration, about, (dataset.x_test, dataset.y_test, expected))
        print(line(check), flush=True)
        checks.append(check)
        write(record, form, check, about["source_sha256"])
    return checks


def write(path: Path, form: str, check: export.Check, source: str) -> None:
    """Put one check into the model's record; those of its other formats stay, those of another model go."""
    earlier = atomic_io.read_json(path) if path.exists() else {}
    rows = earlier.get("exports", {}) if earlier.get("source_sha256") == source else {}
    row = {key: None if value != value else value for key, value in asdict(check).items() if key != "path"}  # NaN: None
    rows = {**rows, form: row}
    rows = {form: rows[form] for form in export.SUFFIXES if form in rows}
    atomic_io.write_json(path, {"source_sha256": source, **backend.provenance(), "exports": rows})


def line(check: export.Check) -> str:
    """What one check found."""
    if check.failure:
        return f"FAILED, not kept: {check.path.name} {check.failure}"
    return (
        f"{check.path}: {check.megabytes:.1f} MB, differs from Keras by at most {check.difference:.1g}, "
        f"test accuracy {check.accuracy_before:.4f} before, {check.accuracy_after:.4f} after"
    )


def main(argv: list[str] | None = None) -> int:
    """Export one model or all; 1 if an export failed its check."""
    config = parse(Config, argv, about=__doc__)
    if keras.backend.backend() != "tensorflow":
        raise UserError("models are exported by TensorFlow: unset KERAS_BACKEND, or set it to tensorflow")
    backend.full_float32()
    export.refuse_missing(export.SUFFIXES if config.format == "all" else (config.format,))
    paths = [Path(model) for model in config.models] or saved_model.finished(Path(config.output_dir or "output"))
    if config.output_dir and len({path.stem for path in paths}) < len(paths):
        raise UserError("models of the same name would overwrite each other's exports; leave --output-dir away")
    for path in paths:
        saved_model.metadata(path)  # a wrong file ends it now, not after the others' exports
    checks = [check for path in paths for check in export_model(path, config)]
    failed = [check.path.name for check in checks if check.failure]
    if failed:
        print(f"error: {len(failed)} of {len(checks)} exports failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
