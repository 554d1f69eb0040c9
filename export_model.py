"""Saved models as ONNX, LiteRT and SavedModel, each checked against Keras.

    python export_model.py output/custom_cnn_model.h5                # every format, beside the model
    python export_model.py output/custom_cnn_model.h5 --format onnx
    python export_model.py --output-dir output/demo                  # every finished model there

Needs the extra export: pip install -e .[export]. For a model MODEL.h5 it writes MODEL.onnx,
MODEL_float32.tflite, MODEL_float16.tflite, MODEL_int8.tflite and the folder MODEL_saved_model. An export
that fails its check on the validation images is not kept, and the exit code is 1; MODEL_exports.json says
what was measured, on the test images as well. BatchNorm is folded into the layers before it.
"""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pipeline import atomic_io, backend, data, deploy, models
from pipeline.backend import keras
from pipeline.config import flag, parse
from pipeline.deploy import runtimes
from pipeline.errors import UserError, exit_code


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    models: tuple[str, ...] = flag((), "saved .h5 models; default: all in the output folder", positional="MODEL")
    format: str = flag("all", "one format, or all", choices=("all", *runtimes.SUFFIXES))
    calibration: int = flag(100, "training images that int8 takes its value ranges from", minimum=10)
    data_dir: str | None = flag(None)
    output_dir: str | None = flag(None, "folder for the exports; default: beside each model")


def calibration_images(x_train: np.ndarray, n: int) -> np.ndarray:
    """n training images, evenly over their order; validation and test images play no part in this choice.

    On CIFAR-100's validation images 50, 200 and 1,000 of them gave int8 models equally close to Keras.
    """
    return x_train[np.linspace(0, len(x_train) - 1, min(n, len(x_train))).astype(int)]


def export_model(path: Path, config: Config) -> list["deploy.export.Check"]:
    """Every format asked for of one model, with a line for each and MODEL_exports.json for all."""
    saved = models.saved_model.open_model(path)
    whole = data.datasets.of_model(saved, config.data_dir)
    # The validation part is the one that the training held out: images that no weight was fitted to.
    dataset = data.datasets.split(whole, saved.metadata.get("validation", 0.1))
    folder = Path(config.output_dir) if config.output_dir else path.parent
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{saved.metadata['title']}, checked on {len(dataset.x_validation):,} validation images", flush=True)
    expected = models.saved_model.predict(saved.model, dataset.x_validation, what="validation images through Keras")
    validation = deploy.export.Reference(dataset.x_validation, dataset.y_validation, expected)
    expected = models.probabilities.on_test_images(saved, dataset)
    test = deploy.export.Reference(dataset.x_test, dataset.y_test, expected)
    graph = deploy.export.fold_batch_norm(saved.model)
    about = {**saved.metadata, "source_sha256": saved.sha256}
    novelty = models.novelty.stored(saved)
    calibration = calibration_images(dataset.x_train, config.calibration)
    checks, record = [], folder / f"{path.stem}_exports.json"
    for form in formats(config):
        target = folder / f"{path.stem}{runtimes.SUFFIXES[form]}"
        print(f"converting to {form}", flush=True)
        check = deploy.export.export(graph, form, target, calibration, about, validation, test, novelty)
        print(line(check), flush=True)
        checks.append(check)
        write(record, form, check, saved.sha256)
    return checks


def formats(config: Config) -> tuple[str, ...]:
    """The formats that --format asks for."""
    return tuple(runtimes.SUFFIXES) if config.format == "all" else (config.format,)


def write(path: Path, form: str, check: "deploy.export.Check", source: str) -> None:
    """Put one check into the model's record; those of its other formats stay, those of another model go.

    Args:
        source: SHA-256 of the saved model.
    """
    earlier = atomic_io.read_json(path) if path.exists() else {}
    found = earlier.get("exports", {}) if earlier.get("source_sha256") == source else {}
    found[form] = {key: value for key, value in asdict(check).items() if key != "path"}
    exports = {form: found[form] for form in runtimes.SUFFIXES if form in found}
    atomic_io.write_json(path, {"schema": 1, "source_sha256": source, **backend.provenance(), "exports": exports})


def line(check: "deploy.export.Check") -> str:
    """One line about a check."""
    if check.failure:
        return f"FAILED, not kept: {check.path.name} {check.failure}"
    validation = f"{check.validation_accuracy_before:.4f} before, {check.validation_accuracy_after:.4f} after"
    test = f"{check.accuracy_before:.4f} before, {check.accuracy_after:.4f} after"
    return (
        f"{check.path}: {check.megabytes:.1f} MB, agrees with Keras on {check.agreement:.2%} of the images, "
        f"probabilities differ by at most {check.difference:.1g}; accuracy on validation images {validation}, "
        f"on test images {test}"
    )


def main(argv: list[str] | None = None) -> int:
    """Export one model or all; 1 if an export failed its check."""
    config = parse(Config, argv, about=__doc__)
    deploy.export.refuse_missing(formats(config))
    finished = models.saved_model.finished
    paths = [Path(model) for model in config.models] or finished(Path(config.output_dir or "output"))
    if config.output_dir and len({path.stem for path in paths}) < len(paths):
        raise UserError("models of the same name would overwrite each other's exports; leave --output-dir away")
    for path in paths:
        models.saved_model.metadata(path)  # a wrong file ends it now, not after the others' exports
    if keras.backend.backend() != "tensorflow":
        raise UserError("models are exported by TensorFlow: unset KERAS_BACKEND, or set it to tensorflow")
    backend.full_float32()
    checks = [check for path in paths for check in export_model(path, config)]
    failed = [check.path.name for check in checks if check.failure]
    if failed:
        print(f"error: {len(failed)} of {len(checks)} exports failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
