"""Model cards: what each saved model is for, what it takes and gives, what was measured, and where it ends.

After Mitchell et al. 2019 (arXiv 1810.03993). The sentences that all cards share are in model_card.md, those on a data
set are below; every figure is from the result files in output/. A file that is absent, or was made with another
model (of another title, or with another test accuracy or number of errors), leaves its lines out.
"""

import math
from pathlib import Path

import numpy as np

from pipeline import atomic_io
from pipeline.console import clock
from pipeline.evaluate.metrics import wilson
from pipeline.models.saved_model import MODELS, Model
from pipeline.report.markdown import spread

TEMPLATE = Path(__file__).with_name("model_card.md")
DATA = {
    "cifar100": {
        "shape": "(n, 32, 32, 3)",
        "layout": "red, green, blue",
        "data": "CIFAR-100 (Krizhevsky 2009) with its 20 coarse labels: small colour photographs of one thing each",
        "limits": """\
- A photograph is shrunk to 32×32 pixels; what is small in it is lost.
- The classes are the data set's: vehicles 1 and 2 are one kind of thing split in two, and mammals are told apart by
  size, food or habitat.
- CIFAR-100 is a part of the 80 Million Tiny Images, which were gathered from the web automatically and withdrawn by
  their makers in 2020 because of offensive labels and images. One class is people: the model is not made to find,
  count or sort people.""",
    },
    "mnist": {
        "shape": "(n, 28, 28, 1)",
        "layout": "grey, one light digit on black, centred as in MNIST",
        "data": "MNIST (LeCun, Cortes and Burges): handwritten digits, of one size and centred by their mass",
        "limits": """\
- `predict.py` and the page lay out a picture as MNIST's digits are; a program of your own has to do it itself.
- MNIST's writers were employees of the US Census Bureau and high-school students. Other ways to write a digit may be
  rare or missing, and no figure here is by writer.""",
    },
}


def cards(folder: Path) -> dict[Path, str]:
    """Path and text of a card for every model whose metrics.json is in a folder and was made on real data."""
    runs = {prefix: _read(folder / f"{prefix}_metrics.json") for prefix in MODELS}
    return {
        folder / f"{prefix}_model_card.md": card(prefix, run, folder)
        for prefix, run in runs.items()
        if run.get("dataset") in DATA
    }


def card(prefix: str, run: dict, folder: Path) -> str:
    """The card of one model, from its metrics.json and what else its folder holds."""
    model, about, names, title = MODELS[prefix], DATA[run["dataset"]], run["class_names"], run["title"]
    recipes = _read(folder / f"{prefix.removesuffix('-best')}_results.json")
    errors, comparison = _read(folder / f"{prefix}_errors.json"), _read(folder / "model_comparison.json")
    figures = _accuracy(run)
    seeds = recipes.get(run["recipe"], {"test_accuracy": {"n": 1}})["test_accuracy"]
    if seeds["n"] > 1:
        what = f"Test accuracy over {seeds['n']} seeds of the recipe, mean ± sample standard deviation"
        figures.append(f"{what}: {spread(seeds)}")
    else:
        figures.append("One run: what other seeds give was not measured; the interval is that of the test images alone")
    matrix = np.array(run["confusion_matrix"])
    if (errors.get("title"), errors.get("wrong")) == (title, int(matrix.sum() - matrix.trace())):
        pairs = [" and ".join(pair["classes"]) for pair in errors["confused_pairs"][:3]]
        figures.append(f"Taken for each other most often: {'; '.join(pairs)}")
        error = f"{errors['expected_calibration_error']:.3f}"
        figures.append(f"Mean confidence {errors['mean_confidence']:.3f}, expected calibration error {error}")
    for entry in comparison.get("models", []):
        if (entry["title"], entry["file"]) != (title, model.file):
            continue
        if math.isclose(entry["runtimes"][0]["test_accuracy"], run["test_accuracy"], abs_tol=1e-6):
            machine = f"{comparison['hardware']['processor']}, threads: {comparison['threads']}"
            figures.append("\n  - ".join([f"Speed, medians on {machine}:", *_speed(entry)]))
    parts = f"{run['n_train']:,} training, {run['n_validation']:,} validation and {run['n_test']:,} test images"
    data = [f"{about['data']}; {parts}"]
    data += [f"`{name}`, SHA-256 `{digest}`" for name, digest in run["config"]["files"].items()]
    return TEMPLATE.read_text(encoding="utf-8").format(
        title=title,
        model=_list(_model(run, model)),
        classes=len(names),
        class_names=", ".join(name if name == str(k) else f"{k} {name}" for k, name in enumerate(names)),
        figures=_list(figures),
        **about | {"data": _list(data)},
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
    right = matrix.diagonal() / np.maximum(matrix.sum(axis=1), 1)
    named = [f"{run['class_names'][k]} ({right[k]:.1%})" for k in np.argsort(right, kind="stable")]
    lines = [
        f"Test accuracy {run['test_accuracy']:.4f} (95 % interval {low:.4f} to {high:.4f}), cross-entropy "
        f"{run['test_loss']:.4f} nats, macro F1 {run['macro_f1']:.4f}",
        f"Right least often: {', '.join(named[:3])}; most often: {', '.join(named[:-4:-1])}",
    ]
    if run.get("tta", {"chosen": "none"})["chosen"] != "none":
        views = f"{run['tta']['chosen']}; these views are not in the file"
        lines.append(f"With test-time augmentation ({views}): {run['tta']['test_accuracy']:.4f}")
    return lines


def _speed(entry: dict) -> list[str]:
    lines = []
    for timed in entry["runtimes"]:
        one, many = timed["batches"]["1"]["median_ms"], timed["batches"]["256"]["images_per_second"]
        speed = f"one image in {one:.2f} ms, batches of 256 at {many:,.0f} images/s"
        size = f"{timed['file_megabytes']:.1f} MB, test accuracy {timed['test_accuracy']:.4f}"
        lines.append(f"`{timed['file']}` in {timed['runtime']}: {speed}; {size}")
    return lines


def _read(path: Path) -> dict:
    return atomic_io.read_json(path) if path.exists() else {}


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
