"""Every plot in one style: text large enough, its colors readable, its signs in the font, its title inside."""

import ast
import itertools
import re
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from experiments import ablation_table, transfer_plot, transfer_setups, variants
from pipeline import style
from pipeline.data import cifar100_labels, toy
from pipeline.deploy import comparison_plot
from pipeline.evaluate import plots
from pipeline.explain import plots as explain_plots
from pipeline.explain.faithfulness import CONTROLS, REMOVALS
from plan import sweep_plot

NOWHERE = Path("nowhere.png")
TITLE = "Some network with a rather long name on some data set (recipe default, 20 epochs, seed 0)"
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
LABELS, GUESSES = np.arange(20) % 10, np.arange(20) // 2
PROBABILITIES = np.eye(10)[GUESSES]
HUNDRED = cifar100_labels.CIFAR100_FINE
CLASSES = cifar100_labels.CIFAR100_COARSE[:10]
MACHINE = {"processor": "a processor", "cores": 2, "accelerator": "none", "bfloat16": False}


def history():
    return [
        {
            "loss": 1 / n,
            "accuracy": 1 - 1 / n,
            "val_loss": 2 / n,
            "val_accuracy": 1 - 2 / (n + 2),
            "val_cross_entropy": 1.5 / n,
            "learning_rate": 0.1**n,
            "phase": "head" if n < 4 else "tail",
        }
        for n in range(1, 6)
    ]


def comparison():
    def timed(name, ms):
        batch = {"median_ms": ms, "speedup": 40 / ms}
        accuracy = {"test_accuracy": 0.9, "accuracy_low": 0.88, "accuracy_high": 0.92}
        return {"runtime": name, **accuracy, "file_megabytes": ms, "batches": {"1": batch, "256": batch}}

    ms = {"Keras predict": 40, "Keras call": 10, "ONNX Runtime": 2, "LiteRT float32": 2.1, "LiteRT int8": 0.5}
    entry = {"dataset": "mnist", "n_test": 1000, "runtimes": [timed(*pair) for pair in ms.items()]}
    models = [{**entry, "name": name} for name in ("custom_cnn", "resnet50")]
    return {"models": models, "hardware": MACHINE, "threads": 2}


def transfer():
    rows = [
        {
            "setup": setup,
            "size": size,
            "label": transfer_setups.label_of(setup, size, "conv1-conv4"),
            "images": images,
            "seed": seed,
            "test_accuracy": 0.5 + place / 40 + seed / 100,
        }
        for place, (setup, size) in enumerate(transfer_plot.STYLES)
        for images in (100, 1000)
        for seed in (0, 1)
    ]
    return pd.DataFrame(rows).assign(weights="some.h5", training_seconds=60.0, **MACHINE)


def ablation():
    entry = {"change": "", "seconds": 9.0, "epochs": 5, "parameters": 10, "commit": "abc", "machine": "one"}
    kinds = {"reference": "reference", "MixUp": "added", "ViT": "replaced", "no shifts": "removed"}
    accuracies = [("reference", 0.7), ("reference", 0.71), ("MixUp", 0.72), ("ViT", 0.4), ("no shifts", 0.69)]
    rows = [{**entry, "variant": i, "kind": kinds[i], "accuracy": a, "seed": s} for s, (i, a) in enumerate(accuracies)]
    return ablation_table.merged([], rows)


def swept():
    runs = [{"validation_accuracy": 0.7}, {"validation_accuracy": 0.71}]
    several = {"label": "learning_rate=0.1, epochs=5", "runs": runs, "mean": 0.705, "std": 0.007, "n": 2}
    return [several, {"label": "learning_rate=0.2, epochs=5", "runs": runs[:1], "mean": 0.7, "std": None, "n": 1}]


def faithfulness():
    """Rows of two models as in the table of benchmarks/faithfulness.py."""
    row = {}
    for measure, control, removal in itertools.product(("deletion", "insertion"), CONTROLS, REMOVALS):
        name = f"{measure}_gain_over_{control}_{removal}"
        row |= {name: 0.1, f"{name}_error": 0.02}
    methods = itertools.product(("expected-gradients", "grad-cam"), ("custom_cnn", "cifar100-best"))
    return [{**row, "method": method, "model": model} for method, model in methods]


def example(maps):
    return IMAGES[0], "a$^$.png\npredicted: fish (50%)", maps


HEAT = [np.zeros((32, 32)), np.full((32, 32), 0.5)]
RUN = {"curve": [[1.0, 0.5], [9.0, 0.8]], **MACHINE}
DRAWINGS = {
    "training curves": lambda path: plots.training_curves(history(), TITLE, path),
    "confusion matrix": lambda path: plots.confusion_matrix(np.diag(range(10, 20)), CLASSES, TITLE, path),
    "large confusion matrix": lambda path: plots.confusion_matrix(np.diag(range(100)), HUNDRED, TITLE, path),
    "examples": lambda path: plots.examples(
        IMAGES, LABELS, PROBABILITIES, np.arange(7), np.arange(3), CLASSES, TITLE, path
    ),
    "time to accuracy": lambda path: plots.time_to_accuracy({"fast": [RUN]}, "MNIST", path, (0.75, "a goal")),
    "data": lambda path: plots.data_overview(
        IMAGES[:, None], cifar100_labels.CIFAR100_COARSE, {"training": np.arange(20)}, "some data", TITLE, path
    ),
    "confused pairs": lambda path: plots.confused_pairs(
        IMAGES, LABELS, GUESSES, [(0, 1), (2, 4)], CLASSES, TITLE, path
    ),
    "fine classes": lambda path: plots.fine_accuracy(
        np.reshape(cifar100_labels.CIFAR100_FINE, (20, 5)),
        RNG.random((20, 5)),
        cifar100_labels.CIFAR100_COARSE,
        TITLE,
        path,
    ),
    "reliability": lambda path: plots.reliability(np.arange(5), np.linspace(0, 1, 5), 0.01, TITLE, path),
    "wrong": lambda path: plots.captioned(
        IMAGES[:7], ["true 3\ncustom CNN: 8 (100%)\nResNet50: 8 (100%)"] * 7, "All 7 wrong ones", TITLE, path
    ),
    "heat maps": lambda path: explain_plots.sheet(
        {"image": ["predicted class"]},
        [[example(HEAT[:1])], ["none is wrong"], [example(HEAT[1:])]],
        "Evidence",
        TITLE,
        path,
    ),
    "page of heat maps": lambda path: explain_plots.page(
        ["grad-cam", "expected-gradients"], [example(2 * HEAT[:1]), example(2 * HEAT[1:])], "Evidence", TITLE, path
    ),
    "faithfulness": lambda path: explain_plots.faithfulness(faithfulness(), TITLE, path),
    "comparison": lambda path: comparison_plot.draw(comparison(), path),
    "transfer": lambda path: transfer_plot.draw(transfer(), "MNIST", path),
    "sweep": lambda path: sweep_plot.draw(swept(), TITLE, path),
    "ablation": lambda path: ablation_table.plot(ablation(), ablation_table.summary(ablation()), TITLE, path),
}
MODULES = (plots, explain_plots, comparison_plot, transfer_plot, ablation_table, sweep_plot)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn, in place of the files that they would be saved to."""
    figures = []
    for module in MODULES:
        monkeypatch.setattr(module, "save", lambda figure, path: figures.append(figure))
    return figures


@pytest.mark.parametrize("name", DRAWINGS)
def test_text_can_be_read_at_half_size_and_in_grey_and_the_title_is_inside(drawn, name):
    DRAWINGS[name](NOWHERE)
    (figure,) = drawn
    FigureCanvasAgg(figure).draw()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    assert min(text.get_fontsize() for text in texts) >= style.SMALL >= 9
    assert {to_hex(text.get_color()).upper() for text in texts} <= {style.BLACK, style.GREY, "#FFFFFF"}
    titled = [part for part in (figure, *figure.subfigs) if part.get_suptitle()]
    assert titled
    for part in titled:
        box = next(text for text in part.texts if text.get_text() == part.get_suptitle()).get_window_extent()
        assert part.bbox.x0 <= box.x0 and box.x1 <= part.bbox.x1
        below = [axes.get_tightbbox().y1 for axes in part.axes if axes.get_tightbbox()]
        assert box.y0 >= max(below) - 1, "nothing reaches into the title"


@pytest.mark.parametrize(
    "names", [["ant", "bee"], ["a very long class name", "another, as long as that", "short"], CLASSES, HUNDRED]
)
def test_the_classes_of_a_confusion_matrix_stand_apart(drawn, names):
    plots.confusion_matrix(np.ones((len(names), len(names)), int), names, TITLE, NOWHERE)
    (figure,) = drawn
    FigureCanvasAgg(figure).draw()
    labels = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert len(labels) == len(names)
    assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(labels))
    cell = figure.axes[0].get_window_extent().width / len(names)
    assert all(text.get_window_extent().width <= cell for text in figure.axes[0].texts)
    assert max(figure.get_size_inches()) * 120 < 3000, "pixels"


def test_a_title_is_broken_into_lines_of_like_length():
    assert style.balanced("one two three four five", 20) == ["one two three", "four five"]
    assert style.balanced("one two", 20) == ["one two"]
    lines = style.title_lines("What it shows", TITLE, 6)
    assert lines[0] == "What it shows" and " ".join(lines[1:]) == TITLE and len(lines) == 3


def test_cells_have_the_text_color_that_contrasts_more():
    def luminance(color):  # WCAG 2.2
        value = np.asarray(matplotlib.colors.to_rgb(color))
        return np.dot(
            [0.2126, 0.7152, 0.0722], np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
        )

    axes = Figure().subplots()
    percent = np.linspace(0, 100, 21).reshape(3, 7)
    style.percent_heatmap(axes, percent, [["text"] * 7] * 3, "accuracy (%)")
    (cells, *_) = axes.collections
    for text, cell in zip(axes.texts, cells.get_facecolors(), strict=True):
        light, dark = sorted((luminance(text.get_color()), luminance(cell[:3])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.1


def test_the_validation_curve_is_plain_cross_entropy_where_the_history_has_it(drawn):
    """The training loss function with label smoothing cannot stand beside a test loss."""
    rows = history()
    plots.training_curves(rows, TITLE, NOWHERE)
    for row in rows:
        del row["val_cross_entropy"]
    plots.training_curves(rows, TITLE, NOWHERE)
    for figure, factor, says in zip(drawn, (1.5, 2), ("plain cross-entropy", "training loss function"), strict=True):
        training, validation, *_ = figure.axes[0].lines
        np.testing.assert_allclose(training.get_ydata(), 1 / np.arange(1, 6))
        np.testing.assert_allclose(validation.get_ydata(), factor / np.arange(1, 6))
        assert says in validation.get_label() and "label smoothing" in training.get_label()


def test_no_recipe_is_left_out_of_time_to_accuracy_and_no_two_look_alike(drawn):
    plots.time_to_accuracy({f"recipe {n}": [RUN] for n in range(12)}, "MNIST", NOWHERE)
    handles, labels = drawn[0].axes[0].get_legend_handles_labels()
    assert labels == [*(f"recipe {n}, n = 1" for n in range(12)), "hollow: without bfloat16"]
    assert len({(handle.get_color(), handle.get_marker()) for handle in handles[:12]}) == 12


def test_a_run_without_bfloat16_is_marked_where_it_ends(drawn):
    runs = [RUN | {"bfloat16": True, "curve": [[1.0, 0.5], [4.0, 0.8]]}, RUN]
    runs.append(RUN | {"accelerator": "a GPU", "curve": [[1.0, 0.5], [2.0, 0.8]]})
    plots.time_to_accuracy({"fast": runs}, "MNIST", NOWHERE)
    ends = [line for line in drawn[0].axes[0].lines if len(line.get_xdata()) == 1]
    hollow = {line.get_xdata()[0]: line.get_markerfacecolor() == "white" for line in ends}
    assert hollow == {4.0: False, 9.0: True, 2.0: False}


def test_the_font_has_every_sign_that_is_used():
    path = font_manager.findfont(matplotlib.rcParams["font.family"][0], fallback_to_default=False)
    known = {chr(code) for code in font_manager.get_font(path).get_charmap()} | {"\n"}
    used = set("".join([*cifar100_labels.CIFAR100_COARSE, *cifar100_labels.CIFAR100_FINE, *toy.SYNTHETIC_NAMES]))
    for name in [module.__file__ for module in (*MODULES, style, variants)] + [*PROJECT.glob("*.py")]:
        with open(name, encoding="utf-8") as file:
            strings = (node.value for node in ast.walk(ast.parse(file.read())) if isinstance(node, ast.Constant))
            used |= set("".join(value for value in strings if isinstance(value, str)))
    assert {"×", "±", "−"} <= used and used <= known


def test_colors_and_sizes_are_set_in_one_place():
    own = re.compile(r"fontsize=\d|[\"']#[0-9A-Fa-f]{6}[\"']|rcParams|dpi=|frameon|import seaborn")
    packages = ("pipeline", "experiments", "benchmarks", "plan")
    sources = [*PROJECT.glob("*.py"), *(path for name in packages for path in (PROJECT / name).rglob("*.py"))]
    assert len(sources) > 50
    found = {path.name for path in sources if own.search(path.read_text(encoding="utf-8"))}
    assert found == {"style.py", "digit_pictures.py"}  # the latter draws as any learner would


def test_labels_of_the_comparison_stay_in_their_panel_and_apart_however_close_the_times_are(drawn):
    result = comparison()
    result["models"].append(result["models"][0] | {"name": "one's own"})  # named, its runtimes told by color alone
    for model, accuracy in zip(result["models"], (1.0, 0.3, 0.2), strict=True):
        model["runtimes"] = [
            one
            | {"test_accuracy": accuracy - 0.25 * (n % 2), "accuracy_low": accuracy - 0.3, "accuracy_high": accuracy}
            | {"batches": {batch: times | {"median_ms": 1 + n / 100} for batch, times in one["batches"].items()}}
            for n, one in enumerate(model["runtimes"])
        ]
    comparison_plot.draw(result, NOWHERE)
    FigureCanvasAgg(drawn[0]).draw()
    for axes in drawn[0].axes:
        panel = axes.get_window_extent()
        for label in axes.texts:
            box = label.get_window_extent()
            assert not label.get_text() or (panel.y0 <= box.y0 and box.y1 <= panel.y1), label.get_text()
        boxes = [label.get_window_extent() for label in axes.texts if "MB" in label.get_text()]
        assert len(boxes) == 10
        assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]
