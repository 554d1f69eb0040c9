"""Model cards: what each saved model is for, what it takes and gives, what was measured, and where it ends.

After Mitchell et al. 2019 (arXiv 1810.03993). The sentences that all cards share are in model_card.md, those on a data
set in pipeline.data.registry; every number is from the result files in output/. A file that is absent, or was made
with another model (of another title, or with another test accuracy or number of errors), leaves its lines out.
"""

import math
from pathlib import Path

import numpy as np

from pipeline import atomic_io
from pipeline.console import clock
from pipeline.data.registry import SOURCES, Source, is_toy
from pipeline.evaluate.metrics import wilson
from pipeline.models.saved_model import MODELS, Model
from pipeline.report.markdown import results_file, spread
from pipeline.train.identity import OUTPUT

TEMPLATE = Path(__file__).with_name("model_card.md")


def cards() -> dict[Path, str]:
    """Path and text of a card for every model whose metrics.json is in output/ and was made on real data."""
    runs = {prefix: _read(f"{prefix}_metrics.json") for prefix in MODELS}
    return {
        OUTPUT / f"{prefix}_model_card.md": card(prefix, run)
        for prefix, run in runs.items()
        if run.get("dataset") and not is_toy(run["dataset"])
    }


def card(prefix: str, run: dict) -> str:
    """The card of one model, from its metrics.json and the other result files."""
    about, names = SOURCES.get(run["dataset"]) or _own(run), run["class_names"]
    parts = f"{run['n_train']:,} training, {run['n_validation']:,} validation and {run['n_test']:,} test images"
    data = [f"{about.about}; {parts}"]
    data += [f"`{name}`, SHA-256 `{digest}`" for name, digest in run["files"].items()]
    return TEMPLATE.read_text(encoding="utf-8").format(
        title=run["title"],
        model=_list(_model(run, MODELS[prefix])),
        shape=about.shape,
        layout=about.layout,
        classes=len(names),
        class_names=", ".join(name if name == str(k) else f"{k} {name}" for k, name in enumerate(names)),
        data=_list(data),
        metrics=_list(
            [
                *_accuracy(run),
                _seeds(prefix, run),
                *_errors(prefix, run),
                *_robustness(prefix, run),
                *_speed(prefix, run),
            ]
        ),
        limits=about.limits,
    )


def _own(run: dict) -> Source:
    """What a card says of the user's own data, as far as the run knows it."""
    height, width, channels = run["image_shape"]
    part = run.get("data_notes", {}).get("test_part")
    return Source(
        run["dataset"],
        run["dataset"],
        tuple(run["class_names"]),
        shape=f"(n, {height}, {width}, {channels})",
        layout="gray" if channels == 1 else "red, green, blue",
        about=f"`{run['dataset']}`, own data" + (f"; the test part is {part}" if part else ""),
        limits="- Where the images come from, and whom or what they leave out, is known to those who gathered them.",
    )


def _model(run: dict, model: Model) -> list[str]:
    machine, start = run["hardware"], run.get("weights", {"loaded": []})
    lines = [
        f"`{model.file}`, {run['parameters']:,} parameters, licence MIT",
        f"Made by `{model.script}`, recipe {run['recipe']}, seed {run['seed']}, {run['epochs']} epochs, commit "
        f"{run['commit']}; every setting is in `{model.prefix}_metrics.json`",
        f"Trained in {clock(run['training_seconds'])} ({run['config']['precision']}; {machine['processor']}, cores: "
        f"{machine['cores']}, accelerator: {machine['accelerator']}); saved in float32",
    ]
    if start["loaded"]:
        of = len(start["loaded"]) + len(start["fresh"])
        lines.append(f"Started with the weights of {len(start['loaded'])} of {of} layers from `{start['file']}`")
    if "temperature" in run:
        divided = ", ".join(f"{one:.3f}" for one in np.atleast_1d(run["temperature"]))
        lines.append(f"Logits divided by {divided}, the best temperature on the validation images")
    return lines


def _accuracy(run: dict) -> list[str]:
    matrix = np.array(run["confusion_matrix"])
    low, high = wilson(int(matrix.trace()), int(matrix.sum()))
    of_class = matrix.diagonal() / np.maximum(matrix.sum(axis=1), 1)
    named = [f"{run['class_names'][k]} ({of_class[k]:.1%})" for k in np.argsort(of_class, kind="stable")]
    lines = [
        f"Test accuracy {run['test_accuracy']:.4f} (95 % interval {low:.4f} to {high:.4f}), cross-entropy "
        f"{run['test_loss']:.4f} nats, macro F1 {run['macro_f1']:.4f}",
        f"Lowest accuracy by class: {', '.join(named[:3])}; highest: {', '.join(named[:-4:-1])}",
    ]
    if "validation_loss" in run:
        lines.append(f"Cross-entropy on the validation images {run['validation_loss']:.4f} nats")
    if run.get("tta", {"chosen": "none"})["chosen"] != "none":
        chosen = f"{run['tta']['chosen']}; not part of the file"
        lines.append(f"With test-time augmentation ({chosen}): {run['tta']['test_accuracy']:.4f}")
    return lines


def _seeds(prefix: str, run: dict) -> str:
    for result in _read(results_file(prefix)).get("results", []):
        over = result["test_accuracy"]
        if result["config"].items() <= run["config"].items() and over["n"] > 1:
            return f"Test accuracy over {over['n']} seeds, mean ± sample standard deviation: {spread(over)}"
    return "One run: what other seeds give was not measured; the interval is that of the test images alone"


def _errors(prefix: str, run: dict) -> list[str]:
    errors, matrix = _read(f"{prefix}_errors.json"), np.array(run["confusion_matrix"])
    if (errors.get("title"), errors.get("wrong")) != (run["title"], int(matrix.sum() - matrix.trace())):
        return []
    pairs = [" and ".join(pair["classes"]) for pair in errors["confused_pairs"][:3]]
    error = f"{errors['expected_calibration_error']:.3f}"
    return [
        f"Most confused classes: {'; '.join(pairs)}",
        f"Mean confidence {errors['mean_confidence']:.3f}, expected calibration error {error}",
    ]


def _robustness(prefix: str, run: dict) -> list[str]:
    for entry in _read("robustness.json").get("models", []):
        measured = (entry["title"], entry["file"], entry["images"])
        same = measured == (run["title"], MODELS[prefix].file, run["n_test"])
        # An export may decide a near tie differently from Keras, which measured the run.
        if same and math.isclose(entry["clean"]["accuracy"], run["test_accuracy"], abs_tol=2.5 / run["n_test"]):
            mean, worst = entry["mean"], entry["worst"]
            return [
                f"On corrupted test images ({len(entry['kinds'])} kinds at five severities): mean accuracy "
                f"{mean['accuracy']:.4f}; worst kind {worst['kind']}, {worst['accuracy']:.4f}; mean expected "
                f"calibration error {mean['expected_calibration_error']:.3f}"
            ]
    return []


def _speed(prefix: str, run: dict) -> list[str]:
    comparison = _read("model_comparison.json")
    for entry in comparison.get("models", []):
        same = (entry["title"], entry["file"]) == (run["title"], MODELS[prefix].file)
        if same and math.isclose(entry["runtimes"][0]["test_accuracy"], run["test_accuracy"], abs_tol=1e-6):
            machine = f"{comparison['hardware']['processor']}, threads: {comparison['threads']}"
            return ["\n  - ".join([f"Speed, medians on {machine}:", *map(_timed, entry["runtimes"])])]
    return []


def _timed(runtime: dict) -> str:
    one, many = runtime["batches"]["1"]["median_ms"], runtime["batches"]["256"]["images_per_second"]
    speed = f"one image in {one:.2f} ms, batches of 256 at {many:,.0f} images/s"
    size = f"{runtime['file_megabytes']:.1f} MB, test accuracy {runtime['test_accuracy']:.4f}"
    return f"`{runtime['file']}` in {runtime['runtime']}: {speed}; {size}"


def _read(name: str) -> dict:
    path = OUTPUT / name
    return atomic_io.read_json(path) if path.exists() else {}


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
