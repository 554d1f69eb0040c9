"""Which explanations are faithful: every method and layer on test images, beside controls.

    python benchmarks/faithfulness.py                    # all models in output/, 500 images each
    python benchmarks/faithfulness.py --model output/custom_cnn_model.h5    # one; the others' rows stay
    python benchmarks/faithfulness.py --images 60        # a first look

For each model, method and layer, with the predicted class as target: deletion and insertion curves and
their areas (Petsiuk et al. 2018), average drop and increase in confidence (Chattopadhay et al. 2018),
the share of maps that are zero everywhere, and the sanity check of Adebayo et al. (2018, arXiv
1810.03292): how alike a map stays when layers are randomized from the top. A blanked pixel takes its
image's mean colour. The controls are smooth noise ("random"), noise pixel by pixel and a centred
Gaussian; a method beats "random" in deletion or insertion if the 95 % interval of the paired difference
of areas lies on the right side of 0. Whoever wants to change the default method or layer on the ground
of what comes out: DEFAULT_METHOD and default_layer() in pipeline/explain/explainer.py.

Writes gradcam_faithfulness.csv (a row per model, method and layer) and <prefix>_faithfulness.png to the
models' folder; where flags ask for less or something else, to output/demo/.
"""

import dataclasses
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import faithfulness_table
from pipeline import atomic_io
from pipeline.config import flag, parse
from pipeline.console import clock, counter
from pipeline.data import datasets
from pipeline.errors import exit_code
from pipeline.explain import cam, explainer, faithfulness, plots, receptive_field
from pipeline.models import saved_model

CONTROLS = ("random", "random pixels", "gaussian")
STRETCHED = "grad-cam stretched"  # over the picture, as is usual, not to where its cells look
CASCADE = (0.0, 1 / 3, 2 / 3, 1.0)  # share of the layers with weights, from the top; 0 is the logits' alone


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    images: int = flag(500, "test images per model, drawn at random", minimum=2)
    steps: int = flag(6, "equal parts in which an image's pixels are deleted or inserted", minimum=2)
    sanity_images: int = flag(50, "of these images, how many the sanity check explains again", minimum=1)
    seed: int = flag(0, "random seed of the choice of images, the controls and the randomized weights", minimum=0)
    model: str | None = flag(None, "one saved .h5 model; default: all in the output folder")
    data_dir: str | None = flag(None)
    output_dir: str | None = flag(None, "folder with the models, and for the results; default: output/, see above")


def subjects(model) -> list[tuple[str, str]]:
    """(method, layer) of every row of a model: gradient methods at every stage, two of them fused over all.

    Score-CAM and occlusion take dozens of passes per image, so they get one row each. Where the cells of the
    default layer do not share the picture evenly, Grad-CAM's map is also stretched, to show what that costs.
    """
    stages, default = explainer.stages(model), explainer.default_layer(model)
    rows = [(method, stage) for method in cam.METHODS for stage in stages]
    rows += [(method, explainer.FUSED) for method in ("grad-cam", "layer-cam")]
    sides = zip(model.get_layer(default).output.shape[1:3], model.input_shape[1:3], strict=True)
    if receptive_field.cell_axes(model)[default] != tuple(cam.tiling(*side) for side in sides):
        rows.append((STRETCHED, default))
    return [*rows, ("score-cam", default), ("occlusion", "")]


def heat_of(explain: explainer.Explainer, subject: tuple[str, str], images, target, seed: int) -> np.ndarray:
    """One row's maps (n, h, w); a control's do not look at the image."""
    method, layer = subject
    shape = images.shape[:3]
    if method == "random":
        return faithfulness.random_maps(*shape, seed + 1)
    if method == "random pixels":
        return faithfulness.random_pixels(*shape, seed + 1)
    if method == "gaussian":
        return faithfulness.centered_gaussian(*shape)
    if method == STRETCHED:
        (activations,), (gradients,) = explain.capture(images.astype(np.float32), target, [layer])
        return cam.scale(cam.enlarge(np.maximum(cam.grad_cam(activations, gradients), 0), *shape[1:]))
    return explain(images, target, method, layer or None)


def likeness(explain, rows, images, target, originals, seed: int, what: str) -> np.ndarray:
    """Mean rank correlation of each row's maps with the original's, (rows, len(CASCADE)).

    The layers are randomized in place, one stage of the cascade after the other, and restored at the end.
    """
    model = explain.model
    layers = [layer for layer in reversed(model.layers) if layer.weights]
    learned, found, done = model.get_weights(), np.full((len(rows), len(CASCADE)), np.nan), 0
    try:
        for stage, share in enumerate(CASCADE):
            upto = max(1, round(share * len(layers)))
            for index in range(done, upto):
                faithfulness.randomize(layers[index], seed + index)
            done = upto
            for i, row in enumerate(rows):
                now = heat_of(explain, row, images, target, seed)
                alike = faithfulness.rank_correlation(originals[i], now)
                found[i, stage] = np.nan if np.isnan(alike).all() else np.nanmean(alike)
            counter(stage + 1, len(CASCADE), f"randomizations of {what}")
    finally:
        model.set_weights(learned)
    return found


def measure(path: Path, config: Config) -> tuple[list[dict], dict, str]:
    """All rows of one model, and what its picture needs besides: mean curves by (method, layer), a title."""
    started = time.monotonic()
    about, model = saved_model.metadata(path), saved_model.load(path)
    dataset, explain = datasets.load(about["dataset"], config.data_dir), explainer.Explainer(model)
    n = min(config.images, len(dataset.x_test))
    chosen = np.random.default_rng(config.seed).choice(len(dataset.x_test), n, replace=False)
    images = dataset.x_test[chosen]

    def predict(changed):
        return saved_model.predict(model, changed)

    before = predict(images)
    classes = before.argmax(axis=1)
    target = explainer.score_weights(classes, before.shape[1])
    whole = faithfulness.of_class(before, classes)
    empty = faithfulness.of_class(predict(np.broadcast_to(cam.blank(images), images.shape)), classes)
    ties = faithfulness.random_maps(*images.shape[:3], config.seed + 2)
    print(f"{about['title']}: {n} images, blank images keep {empty.mean():.3f} of {whole.mean():.3f}", flush=True)

    names = [*((control, "") for control in CONTROLS), *subjects(model)]
    rows, areas, shapes, originals, few = [], {}, {}, [], min(config.sanity_images, n)
    for done, (method, layer) in enumerate(names, 1):
        heat = heat_of(explain, (method, layer), images, target, config.seed)
        originals.append(heat[:few])
        deletion, insertion = faithfulness.curves(predict, images, classes, heat, ties, (whole, empty), config.steps)
        shapes[method, layer] = deletion.mean(axis=0), insertion.mean(axis=0)
        areas[method, layer] = faithfulness.area(deletion), faithfulness.area(insertion)
        seen = faithfulness.of_class(predict(cam.masked(images, heat)), classes)
        one_map = layer not in ("", explainer.FUSED)
        rows.append(
            {
                "model": about["prefix"],
                "dataset": about["dataset"],
                "method": method,
                "layer": layer,
                "map": "x".join(map(str, model.get_layer(layer).output.shape[1:3])) if one_map else "",
                "images": n,
                "deletion_area": areas[method, layer][0].mean(),
                "insertion_area": areas[method, layer][1].mean(),
                "average_drop_percent": faithfulness.average_drop(whole, seen),
                "increase_in_confidence_percent": faithfulness.increase_in_confidence(whole, seen),
                "zero_maps_percent": 100 * np.mean(~heat.any(axis=(1, 2))),
            }
        )
        counter(done, len(names), f"explanations of {path.name}")
    for row, name in zip(rows, names, strict=True):
        row |= faithfulness_table.gains(areas[name], areas["random", ""], "random")
        row |= faithfulness_table.gains(areas[name], areas["gaussian", ""], "gaussian")
    tested, skip = names[len(CONTROLS) :], len(CONTROLS)
    alike = likeness(explain, tested, images[:few], target[:few], originals[skip:], config.seed, path.name)
    for row, values in zip(rows[skip:], alike, strict=True):
        row |= {f"likeness_{100 * share:.0f}_percent_random": v for share, v in zip(CASCADE, values, strict=True)}
        if np.isfinite(values[-1]):  # else no map had an order to keep
            row["loses_likeness"] = "yes" if abs(values[-1]) < faithfulness.ALIKE else "no"
    print(f"{path.name} took {clock(time.monotonic() - started)}", flush=True)
    return rows, shapes, f"{about['title']}, {n} test images"


def main(argv: list[str] | None = None) -> int:
    """Measure one model or all; what is measured is written after each."""
    config = parse(Config, argv, about=__doc__)
    models = Path(config.output_dir or "output")
    paths = [Path(config.model)] if config.model else saved_model.finished(models)
    usual = dataclasses.replace(config, data_dir=None, model=None) == Config() and paths[0].parent == models
    folder = models if config.output_dir or usual else models / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "gradcam_faithfulness.csv"
    for path in paths:
        rows, curves, title = measure(path, config)
        print(faithfulness_table.summary(rows), flush=True)
        picture = folder / f"{rows[0]['model']}_faithfulness.png"
        plots.faithfulness(rows, curves, title, picture)
        atomic_io.write_csv(table, faithfulness_table.merged(table, rows))
        print(f"{table}, {picture}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
