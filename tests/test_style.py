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
from pipeline.evaluate import plots, robustness_plot, time_to_accuracy_plot
from pipeline.explain import plots as explain_plots
from pipeline.explain.faithfulness import CONTROLS, REMOVALS
from pipeline.models import network_plot
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
            "cross_entropy": 1.1 / n,
            "val_cross_entropy": 1.5 / n,
            "seconds": 60.0,
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
    one = {"label": "learning_rate=0.2, epochs=5", "runs": runs[:1], "mean": 0.7, "std": None, "n": 1}
    return [{**several, "stopped_after": None}, {**one, "stopped_after": 3}]


def faithfulness():
    """Rows of two models as in the table of benchmarks/faithfulness.py."""
    row = {}
    for measure, control, removal in itertools.product(("deletion", "insertion"), CONTROLS, REMOVALS):
        name = f"{measure}_gain_over_{control}_{removal}"
        row |= {name: 0.1, f"{name}_error": 0.02}
    methods = itertools.product(("Grad-CAM + expected gradients", "Grad-CAM"), ("custom CNN", "CNN trained longer"))
    return [{**row, "method": method, "model": model} for method, model in methods]


def example(maps):
    return IMAGES[0], "a$^$.png\npredicted: fish (50%)", maps


HEAT = [np.zeros((32, 32)), np.full((32, 32), 0.5)]
RUN = {"curve": [[1.0, 0.5], [9.0, 0.8]], "test_accuracy": 0.81, "wall_seconds": 12.0, **MACHINE}


def robustness():
    kinds = [{"kind": kind, "accuracy": [0.9, 0.8, 0.7, 0.5, 0.3]} for kind in ("Gaussian noise", "motion blur")]
    everyday = [{"kind": "rotation by 12°", "accuracy": 0.9}]
    worst = {"kind": "motion blur", "accuracy": 0.3}
    entry = {"clean": {"accuracy": 0.95}, "mean": {"accuracy": 0.6}, "worst": worst, "kinds": kinds, "images": 100}
    entry |= {"everyday": everyday}
    names = (("CNN from scratch", "CIFAR-100"), ("CNN trained longer", "CIFAR-100"), ("custom CNN", "MNIST"))
    return [{**entry, "network": network, "dataset": dataset} for network, dataset in names]


def network():
    """As many blocks as ResNet50 has stages, and as many lines."""
    lines = ["1×1, 256 (×6)", "3×3, 512 (×6)", "1×1, 2048 (×12)", "max pooling", "shortcut (×6)"]
    names = ["image", "input", *(f"conv{number}" for number in range(1, 6)), "classifier"]
    sides = (32, 32, 16, 8, 4, 2, 1)
    shapes = [*((side, side, 2048 // side) for side in sides), (20,)]
    return [
        [network_plot.Block(name, shape, lines, 1234567, 98765432) for name, shape in zip(names, shapes, strict=True)]
    ]


DRAWINGS = {
    "training curves": lambda path: plots.training_curves(
        history(), 0.81, {"24 → 32 pixels": 2, "CutMix ends": 4}, TITLE, path
    ),
    "confusion matrix": lambda path: plots.confusion_matrix(np.diag(range(10, 20)), CLASSES, TITLE, path),
    "large confusion matrix": lambda path: plots.confusion_matrix(np.diag(range(100)), HUNDRED, TITLE, path),
    "examples": lambda path: plots.examples(
        IMAGES, LABELS, PROBABILITIES, np.arange(7), np.arange(3), CLASSES, TITLE, path
    ),
    "time to accuracy": lambda path: time_to_accuracy_plot.draw({"fast": [RUN]}, "MNIST", path),
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
    "overview of heat maps": lambda path: explain_plots.overview(
        [(IMAGES[0], "answer: large omnivores and herbivores, 100 %", "image: lawn mower", HEAT[1])] * 6,
        "A finding",
        TITLE,
        path,
    ),
    "network": lambda path: network_plot.draw_blocks(network(), TITLE, path),
    "robustness": lambda path: robustness_plot.draw(robustness(), path),
    "faithfulness": lambda path: explain_plots.faithfulness(faithfulness(), TITLE, path),
    "comparison": lambda path: comparison_plot.draw(comparison(), path),
    "transfer": lambda path: transfer_plot.draw(transfer(), "MNIST", path),
    "sweep": lambda path: sweep_plot.draw(swept(), TITLE, path),
    "ablation": lambda path: ablation_table.plot(ablation(), ablation_table.summary(ablation()), TITLE, path),
}
MODULES = (plots, explain_plots, comparison_plot, transfer_plot, ablation_table, sweep_plot)
MODULES += (network_plot, robustness_plot, time_to_accuracy_plot)


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
    footer = next(text for text in figure.texts if text.get_text() == figure.get_supxlabel()).get_window_extent()
    assert figure.bbox.x0 <= footer.x0 and footer.x1 <= figure.bbox.x1
    above = [axes.get_tightbbox().y0 for axes in figure.axes if axes.get_tightbbox()]
    assert footer.y1 <= min(above) + 1, "nor into the footer"


def boxes_of(texts):
    """Extents of the texts that are not empty, without the arrows of annotations."""
    return [Text.get_window_extent(text) for text in texts if text.get_text().strip()]


def overlapping(texts):
    return [pair for pair in itertools.combinations(boxes_of(texts), 2) if pair[0].overlaps(pair[1])]


@pytest.mark.parametrize("name", ["network", "overview of heat maps", "comparison", "transfer", "ablation"])
def test_no_label_lies_on_another_or_beyond_the_figure(drawn, name):
    DRAWINGS[name](NOWHERE)
    (figure,) = drawn
    FigureCanvasAgg(figure).draw()
    texts = [text for axes in figure.axes for text in (*axes.texts, axes.title)] + figure.texts
    assert not overlapping(texts)
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 + 1 for box in boxes_of(texts))


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
    assert style.title_lines("One finding; another", 6) == ["One finding; another"]
    lines = style.title_lines(f"One finding; {TITLE}", 6)
    assert lines[0] == "One finding;" and " ".join(lines[1:]) == TITLE and len(lines) == 3


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


def test_both_losses_are_plain_cross_entropy_where_the_history_has_both(drawn):
    """The training loss function with label smoothing cannot stand beside a test loss, nor beside a plain one."""
    rows = history()
    plots.training_curves(rows, 0.8, {}, TITLE, NOWHERE)
    for row in rows:
        del row["cross_entropy"]
    plots.training_curves(rows, 0.8, {}, TITLE, NOWHERE)
    expected = ((1.1, 1.5, "cross-entropy"), (1, 2, "training loss function"))
    for figure, (own, others, says) in zip(drawn, expected, strict=True):
        training, validation, *_ = figure.axes[0].lines
        np.testing.assert_allclose(training.get_ydata(), own / np.arange(1, 6))
        np.testing.assert_allclose(validation.get_ydata(), others / np.arange(1, 6))
        assert figure.axes[0].get_ylabel().startswith(says)


def test_training_curves_mark_what_changes_and_name_the_test_accuracy(drawn):
    plots.training_curves(history(), 0.815, {"24 → 32 pixels": 2}, TITLE, NOWHERE)
    (figure,) = drawn
    assert "81.5\N{NO-BREAK SPACE}%" in figure.get_suptitle() and "5 min" in figure.get_suptitle()
    for axes in figure.axes:
        marked = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
        assert sorted(marked) == [2.5, 3.5], "full size after epoch 2, and another phase after epoch 3"
    assert {text.get_text() for text in figure.axes[2].texts} == {"24 → 32 pixels", "tail"}


def test_training_curves_of_other_classes_than_the_models_have_no_test_accuracy(drawn):
    plots.training_curves(history(), 0.815, {}, TITLE, NOWHERE)
    plots.training_curves(history(), 0.815, {}, TITLE, NOWHERE, "100 fine classes")
    labels = [[line.get_label() for line in figure.axes[1].lines] for figure in drawn]
    assert "test" in labels[0] and "test" not in labels[1]
    assert drawn[1].axes[1].get_ylabel() == "accuracy (100 fine classes)"


@pytest.mark.parametrize(("last", "scale"), [(0.8, "linear"), (0.996, "logit")])
def test_accuracies_close_to_1_are_told_apart(drawn, last, scale):
    rows = [row | {"val_accuracy": last} for row in history()]
    plots.training_curves(rows, last, {}, TITLE, NOWHERE)
    assert drawn[0].axes[1].get_yscale() == scale


def test_time_to_accuracy_has_a_line_and_a_label_for_every_recipe_and_no_two_look_alike(drawn):
    names = [f"recipe {n}" for n in range(12)]
    time_to_accuracy_plot.draw({name: [RUN, RUN] for name in names}, "MNIST", NOWHERE)
    (axes,) = drawn[0].axes
    FigureCanvasAgg(drawn[0]).draw()
    ends, labels = axes.get_legend_handles_labels()
    assert labels == names and len({(end.get_color(), end.get_marker()) for end in ends}) == 12
    assert len(axes.lines) == 3 * 12, "a line, its end and what joins them, however many seeds"
    assert {text.get_text() for text in axes.texts} == {f"{name} 81\N{NO-BREAK SPACE}%, 12 s" for name in names}
    assert not overlapping(axes.texts)


def test_the_curve_of_a_recipe_is_that_of_its_fastest_run_without_steps_back(drawn):
    other = RUN | {"curve": [[1.0, 0.7], [5.0, 0.4]], "test_accuracy": 0.83, "wall_seconds": 6.0}
    time_to_accuracy_plot.draw({"fast": [RUN, other]}, "MNIST", NOWHERE)
    curve, end, _ = drawn[0].axes[0].lines
    np.testing.assert_allclose(curve.get_xdata(), [1 / 60, 5 / 60])
    np.testing.assert_allclose(curve.get_ydata(), [0.7, 0.7])
    np.testing.assert_allclose((end.get_xdata()[0], end.get_ydata()[0]), (0.1, 0.82))


def test_a_recipe_that_ran_without_bfloat16_ends_in_a_hollow_marker(drawn):
    runs = {"with": [RUN | {"bfloat16": True}], "without": [RUN], "on a GPU": [RUN | {"accelerator": "a GPU"}]}
    time_to_accuracy_plot.draw(runs, "MNIST", NOWHERE)
    ends, labels = drawn[0].axes[0].get_legend_handles_labels()
    hollow = {name for end, name in zip(ends, labels, strict=True) if end.get_markerfacecolor() == "white"}
    assert hollow == {"without"} and "hollow" in drawn[0].get_supxlabel()


def test_errors_have_a_scale_of_their_own_and_classes_that_are_confused_stand_side_by_side(drawn):
    matrix = 900 * np.eye(6, dtype=int)
    for a, b in ((0, 3), (1, 4), (2, 5)):
        matrix[a, b] = matrix[b, a] = 100
    plots.confusion_matrix(matrix, list("abcdef"), TITLE, NOWHERE)
    (figure,) = drawn
    names = "".join(label.get_text() for label in figure.axes[0].get_xticklabels())
    assert {frozenset(names[place : place + 2]) for place in (0, 2, 4)} == {frozenset(p) for p in ("ad", "be", "cf")}
    right, wrong = figure.axes[0].collections
    assert right.get_clim() == (0, 100) and wrong.get_clim() == (0, 10)
    written = sorted(text.get_text() for text in figure.axes[0].texts)
    assert written == sorted(["900"] * 6 + ["100"] * 6), "one number a cell"
    assert "90.0\N{NO-BREAK SPACE}%" in figure.get_suptitle() and "a and d" in figure.get_suptitle()


def test_bins_with_few_images_are_hollow(drawn):
    plots.reliability(np.array([0, 3, 500]), np.array([0, 0.5, 0.9]), 0.01, TITLE, NOWHERE)
    upper, _ = drawn[0].axes
    filled, hollow = upper.containers
    assert [bar.get_height() for bar in filled] == [0, 0, 0.9]
    assert [bar.get_height() for bar in hollow] == [0.5]
    assert {bar.get_facecolor()[:3] for bar in hollow} == {(1, 1, 1)}


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


def test_the_comparison_is_sorted_by_time_with_the_accuracy_beside_each_bar(drawn):
    comparison_plot.draw(comparison(), NOWHERE)
    (axes,) = drawn[0].axes
    order = ["LiteRT int8", "ONNX Runtime", "LiteRT float32", "Keras call", "Keras predict"]
    named = [label.get_text().split(", ")[1] for label in axes.get_yticklabels()]
    assert named == [name for name in order for _ in range(2)], "two models"
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("90.00\N{NO-BREAK SPACE}%") == 10 and texts.count("0.50") == 2
    ends = sorted(bar.get_x() + bar.get_width() for bar in axes.patches)
    np.testing.assert_allclose(ends, [0.5, 0.5, 2, 2, 2.1, 2.1, 10, 10, 40, 40])
