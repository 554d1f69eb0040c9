"""Which explanations are faithful: every method on test images, beside controls.

    python benchmarks/faithfulness.py                    # all models in output/, 500 images each
    python benchmarks/faithfulness.py output/custom_cnn_model.h5    # one; the rows of others stay
    python benchmarks/faithfulness.py --images 60        # a first look
    python benchmarks/faithfulness.py --stages           # CAM methods at every stage, too

For each model and method, with the predicted class as target: deletion and insertion curves and their areas (Petsiuk et
al. 2018), average drop and increase in confidence (Chattopadhay et al. 2018), the fraction of maps that are zero
everywhere, and the model randomization test of Adebayo et al. (2018, arXiv 1810.03292): the rank correlation of a map
with itself when layers are randomized from the top. Pixels are removed in two ways: blanked by their image's mean
color, and by noisy linear imputation from their neighbors (ROAD, Rong et al. 2022, arXiv 2202.00449). The controls are
smooth noise ("random"), noise pixel by pixel and a centered Gaussian; a method beats one in deletion or insertion if
the 95 % interval of the paired difference of areas lies on the better side of 0.

Writes gradcam_faithfulness.csv (a row per model, method and layer) and faithfulness.png, the default explanation and
Grad-CAM of all models in that table; trials, or one model of another folder, to output/demo/.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import faithfulness_table, results
from pipeline import atomic_io, data, explain, models
from pipeline.config import flag, parse
from pipeline.console import clock, counter
from pipeline.deploy import runtimes
from pipeline.errors import exit_code
from pipeline.explain.faithfulness import CONTROLS, REMOVALS
from pipeline.train.identity import OUTPUT

STRETCHED = "grad-cam stretched"  # over the whole image, as is usual, not to where its cells look
THOROUGH = f"{explain.explainer.DEFAULT_METHOD} thorough"
CASCADE = (0.0, 1 / 3, 2 / 3, 1.0)  # fractions of the layers with weights, from the top; 0: the logits' alone


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    images: int = flag(500, "test images per model, drawn at random", minimum=2)
    steps: int = flag(6, "equal parts in which an image's pixels are deleted or inserted", minimum=2)
    sanity_images: int = flag(50, "of these images, how many the randomization test explains again", minimum=1)
    stages: bool = flag(False, "CAM methods at every stage, not at the default layer alone: twice the time")
    thorough: bool = flag(False, "the thorough default explanation, too, which gradcam.py --thorough draws")
    seed: int = flag(0, "random seed of the choice of images, the controls and the randomized weights", minimum=0)
    model: str | None = flag(
        None, "one saved .h5 model; default: all in the output folder", positional="MODEL", recorded=False
    )
    data_dir: str | None = flag(None, recorded=False)
    output_dir: str | None = flag(
        None, "folder with the models, and for the results; else output/, trials: output/demo/", recorded=False
    )


def subjects(model, config: Config) -> list[tuple[str, str]]:
    """(method, layer) of every row of a model but its controls.

    Where the cells of the default layer do not divide the image evenly, Grad-CAM's map is also stretched, to show what
    that costs.
    """
    default = explain.explainer.default_layer(model)
    layers = explain.explainer.stages(model) if config.stages else [default]
    rows = [(method, layer) for method in explain.cam.METHODS for layer in layers]
    rows += [(method, explain.explainer.FUSED) for method in ("grad-cam", "layer-cam")]
    sides = zip(model.get_layer(default).output.shape[1:3], model.input_shape[1:3], strict=True)
    even = tuple(explain.cam.tiling(cells, pixels) for cells, pixels in sides)
    if explain.receptive_field.cell_axes(model)[default] != even:
        rows.append((STRETCHED, default))
    rows += [("score-cam", default), ("aggregate", default)]
    rows += [(method, "") for method in explain.explainer.WITHOUT_LAYER]
    if config.thorough:
        rows.append((THOROUGH, default))
    return rows


def heat_of(explainer, subject: tuple[str, str], images: np.ndarray, target: np.ndarray, seed: int) -> np.ndarray:
    """Maps (n, h, w) of one row, a method's or a control's.

    Args:
        explainer: pipeline.explain.explainer.Explainer of the model.
        subject: (method, layer); a control's maps do not depend on the images.
        images: (n, h, w, c) raw pixels; target: (n, n_classes) weights of the logits.
    """
    method, layer = subject
    shape = images.shape[:3]
    if method == "random":
        return explain.faithfulness.random_maps(*shape, seed + 1)
    if method == "random pixels":
        return explain.faithfulness.random_pixels(*shape, seed + 1)
    if method == "gaussian":
        return explain.faithfulness.centered_gaussian(*shape)
    if method == STRETCHED:
        (activations,), (gradients,) = explainer.capture(images.astype(np.float32), target, [layer])
        maps = np.maximum(explain.cam.grad_cam(activations, gradients), 0)
        return explain.cam.scale(explain.cam.enlarge(maps, *shape[1:]))
    if method == THOROUGH:
        return explainer(images, target, thorough=True)
    return explainer(images, target, method, layer or None)


def randomization_test(explainer, rows, images, target, originals, seed: int, what: str) -> np.ndarray:
    """Mean rank correlation of each row's maps with the original ones, (n_rows, len(CASCADE)); NaN without an order.

    The layers are randomized in place, one stage of the cascade after the other, and restored at the end.

    Args:
        rows: (method, layer) of each row; originals: their maps, each (n, h, w), by the trained weights.
    """
    model = explainer.model
    layers = [layer for layer in reversed(model.layers) if layer.weights]
    trained, correlations, done = model.get_weights(), np.full((len(rows), len(CASCADE)), np.nan), 0
    try:
        for stage, fraction in enumerate(CASCADE):
            end = max(1, round(fraction * len(layers)))
            for index in range(done, end):
                explain.faithfulness.randomize(layers[index], seed + index)
            done = end
            for i, row in enumerate(rows):
                maps = heat_of(explainer, row, images, target, seed)
                correlation = explain.faithfulness.rank_correlation(originals[i], maps)
                if not np.isnan(correlation).all():
                    correlations[i, stage] = np.nanmean(correlation)
            counter(stage + 1, len(CASCADE), f"randomizations of {what}")
    finally:
        model.set_weights(trained)
    return correlations


def map_size(model, layer: str) -> str:
    """Size of a layer's map, "8x8"; empty for several layers, or none."""
    if layer in ("", explain.explainer.FUSED):
        return ""
    height, width = model.get_layer(layer).output.shape[1:3]
    return f"{height}x{width}"


def measure(path: Path, config: Config) -> list[dict]:
    """All rows of one model."""
    metrics, started = explain.faithfulness, time.monotonic()
    saved = models.saved_model.open_model(path)
    about, model = saved.metadata, saved.model
    dataset, explainer = data.datasets.of_model(saved, config.data_dir), explain.explainer.Explainer(model)
    n = min(config.images, len(dataset.x_test))
    chosen = np.random.default_rng(config.seed).choice(len(dataset.x_test), n, replace=False)
    images = dataset.x_test[chosen]
    export = runtimes.exact_export(path, threads=os.cpu_count())  # several times as fast as Keras

    def predict(changed):
        return export.predict(changed) if export else models.saved_model.predict(model, changed)

    probabilities = predict(images)
    classes = probabilities.argmax(axis=1)
    target = explain.explainer.score_weights(classes, probabilities.shape[1])
    whole = metrics.of_class(probabilities, classes)
    blank = np.broadcast_to(explain.imputation.blank(images), images.shape)
    ends = whole, metrics.of_class(predict(blank), classes)
    ties = metrics.random_maps(*images.shape[:3], config.seed + 2)
    print(f"{about['title']}: {n} images, blank images keep {ends[1].mean():.3f} of {whole.mean():.3f}", flush=True)

    methods = subjects(model, config)
    names = [*((control, "") for control in CONTROLS), *methods]
    rows, areas, originals = [], {}, {}
    few = min(config.sanity_images, n)
    for done, name in enumerate(names, 1):
        method, layer = name
        heat = heat_of(explainer, name, images, target, config.seed)
        originals[name] = heat[:few]
        for removal in REMOVALS:
            remove = metrics.removal(removal, config.seed + 3)
            curves = metrics.curves(predict, remove, images, classes, heat, ties, ends, config.steps)
            areas[name, removal] = tuple(metrics.area(curve) for curve in curves)
        masked = metrics.of_class(predict(explain.imputation.masked(images, heat)), classes)
        row = {
            "model": about["prefix"],
            "dataset": about["dataset"],
            "method": method,
            "layer": layer,
            "map": map_size(model, layer),
            "images": n,
        }
        for removal in REMOVALS:
            deletion, insertion = areas[name, removal]
            row[f"deletion_area_{removal}"] = deletion.mean()
            row[f"insertion_area_{removal}"] = insertion.mean()
        row["average_drop_percent"] = metrics.average_drop(whole, masked)
        row["increase_in_confidence_percent"] = metrics.increase_in_confidence(whole, masked)
        row["zero_maps_percent"] = 100 * np.mean(~heat.any(axis=(1, 2)))
        rows.append(row)
        counter(done, len(names), f"explanations of {path.name}")
    for row, name in zip(rows, names, strict=True):
        for control in CONTROLS:
            for removal in REMOVALS:
                row |= faithfulness_table.gains(
                    areas[name, removal], areas[(control, ""), removal], f"{control}_{removal}"
                )
    unchanged = [originals[name] for name in methods]
    correlations = randomization_test(explainer, methods, images[:few], target[:few], unchanged, config.seed, path.name)
    for row, values in zip(rows[len(CONTROLS) :], correlations, strict=True):
        for fraction, value in zip(CASCADE, values, strict=True):
            row[f"likeness_{100 * fraction:.0f}_percent_random"] = value
        if np.isfinite(values[-1]):  # else no map had an order to keep
            row["loses_likeness"] = "yes" if abs(values[-1]) < metrics.ALIKE else "no"
    print(f"{path.name} took {clock(time.monotonic() - started)}", flush=True)
    return rows


def main(argv: list[str] | None = None) -> int:
    """Measure one model or all; what is measured is written after each."""
    config = parse(Config, argv, about=__doc__)
    folder = Path(config.output_dir or OUTPUT)
    paths = [Path(config.model)] if config.model else models.saved_model.finished(folder)
    destination = results.folder(config, trial=paths[0].resolve().parent != folder.resolve())
    table = destination / "gradcam_faithfulness.csv"
    for path in paths:
        rows = measure(path, config)
        print(faithfulness_table.summary(rows), flush=True)
        whole = faithfulness_table.merged(table, rows)
        atomic_io.write_csv(table, whole)
        plot = destination / "faithfulness.png"
        shown = faithfulness_table.shown(whole)
        explain.plots.faithfulness(shown, f"{int(whole['images'].min())} test images per model", plot)
        print(f"{table}, {plot}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
