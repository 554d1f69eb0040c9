"""The scripts as a user runs them: as processes, from another folder, on toy data."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT, STEM, write_weights
from PIL import Image
from sklearn import metrics as reference

import mnist_classification
from pipeline import config
from pipeline.backend import keras
from pipeline.data import datasets
from pipeline.explain import cam, explainer
from pipeline.explain.faithfulness import CONTROLS, REMOVALS
from pipeline.models import saved_model

DRY = ("--dry-run", "--output-dir", "results")
MNIST = ("mnist_classification.py", "--dataset", "digits", *DRY)
STEM_ALONE = ("--weights", "stem.h5", "--upper-epochs", "0")  # each phase more is half a minute of tracing
TRAINING = {
    "resnet50": ("resnet50_transfer_learning.py", "--dataset", "digits", *STEM_ALONE, *DRY),
    "cifar100": ("cifar100_cnn.py", "--dataset", "synthetic", *DRY),
    "custom_cnn": MNIST,
}
AFTERWARDS = {
    "finished": (*MNIST, "--resume"),
    "no data": ("mnist_classification.py", "--output-dir", "empty"),
    "no models": ("model_comparison.py", "--output-dir", "empty"),
    "damaged model": ("gradcam.py", "broken.png", "--output-dir", "results"),
    "broken picture": (
        *("gradcam.py", "results/custom_cnn_model.h5", "--output-dir", "results"),
        *("whole.png", "broken.png", "--target", "4", "--against", "9", "--method", "layer-cam", "--layer", "fused"),
    ),
    "other seed": (*MNIST, "--resume", "--seed", "5"),  # last: two runs at once in a folder are refused
}
# Of the two small models alone, in a folder of their own: ResNet50 would take minutes to show the same.
LAST = {
    "comparison": ("model_comparison.py", "--output-dir", "small", "--rounds", "1"),
    "gradcam": ("gradcam.py", "--output-dir", "small"),
    "errors": ("error_analysis.py", "--output-dir", "results"),
    "faithfulness": (
        *("benchmarks/faithfulness.py", "results/custom_cnn_model.h5", "--output-dir", "results"),
        *("--images", "6", "--steps", "2", "--sanity-images", "2"),
    ),
    "cost": ("benchmarks/explanation_cost.py", "--output-dir", "small", "--images", "8", "--rounds", "1"),
}
SMALL = {"cifar100": "cifar100_cnn_scratch.h5", "custom_cnn": "custom_cnn_model.h5"}
MODELS = {"cifar100": "cifar100_cnn_scratch.h5", "custom_cnn": "custom_cnn_model.h5", "resnet50": "resnet50_model.h5"}


def environment(folder):
    """This process' environment with no data, no way to the network and a Keras home of its own."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("DATA_DIR", "PYTHONPATH")}
    nowhere = dict.fromkeys(("https_proxy", "http_proxy"), "http://127.0.0.1:9")  # refuses every connection
    return {**inherited, **nowhere, "KERAS_HOME": str(folder / "keras"), "PYTHONDONTWRITEBYTECODE": "1"}


def state_of(folder):
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.iterdir()}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Every process once, two at a time: all results in one folder, and what each process said."""
    folder = tmp_path_factory.mktemp("session")
    (folder / "empty").mkdir()
    picture = np.full((80, 60), 255, np.uint8)
    picture[10:70, 25:35] = 0  # a one
    Image.fromarray(picture).save(folder / "whole.png")
    (folder / "broken.png").write_bytes((folder / "whole.png").read_bytes()[:60])
    write_weights(folder / "stem.h5", STEM)
    before = {path.name for path in folder.iterdir()}

    def start(command):
        command = [sys.executable, str(PROJECT / command[0]), *command[1:]]
        return subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)

    done = {}
    with ThreadPoolExecutor(2) as pool:
        done |= zip(TRAINING, pool.map(start, TRAINING.values()), strict=True)
        trained = state_of(folder / "results")
        done |= zip(AFTERWARDS, pool.map(start, AFTERWARDS.values()), strict=True)
        afterwards = state_of(folder / "results")
        (folder / "small").mkdir()
        for model in SMALL.values():
            shutil.copy(folder / "results" / model, folder / "small")
        done |= zip(LAST, pool.map(start, LAST.values()), strict=True)
    new = {path.name for path in folder.iterdir()} - before - {"keras"}
    places = {"results": folder / "results", "small": folder / "small"}
    return SimpleNamespace(done=done, trained=trained, afterwards=afterwards, new=new, **places)


@pytest.mark.parametrize("name", [*TRAINING, *LAST, "finished"])
def test_a_good_run_ends_with_exit_code_0_and_nothing_on_stderr(session, name):
    done = session.done[name]
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("prefix", TRAINING)
def test_a_training_run_leaves_every_file_and_no_temporary_one(session, prefix):
    names = ("classification_report.csv", "confusion_matrix.png", "examples.png", "history.csv", "metrics.json")
    stem = MODELS[prefix].removesuffix(".h5")
    expected = {MODELS[prefix], f"{stem}_test_probabilities.npz", f".{prefix}_run.lock"}
    expected |= {f"{prefix}_{name}" for name in (*names, "training_curves.png", "network.png")}
    if prefix == "cifar100":
        expected.add(f"best_{MODELS[prefix]}")
    assert {name for name in session.trained if prefix in name} == expected


def test_all_that_is_written_is_in_the_output_folder(session):
    assert session.new == {"results", "small"}


def test_comparison_and_explanations_leave_their_files(session):
    small = {f"{prefix}_gradcam{page}.png" for prefix in SMALL for page in ("", "_all")}
    small |= {"benchmark_gradcam.json", "gradcam_overview.png", *SMALL.values()}
    small |= {f"model_comparison.{kind}" for kind in ("png", "csv", "json")}
    small |= {f"{model.removesuffix('.h5')}_test_probabilities.npz" for model in SMALL.values()}
    assert {path.name for path in session.small.iterdir()} == small
    measured = {f"{prefix}_{name}" for prefix in MODELS for name in ("reliability.png", "errors.json")}
    measured |= {"cifar100_confused_pairs.png", "digits_both_wrong.json", "custom_cnn_photos_gradcam.png"}
    measured |= {"gradcam_faithfulness.csv", "faithfulness.png"}
    assert {path.name for path in session.results.iterdir()} - set(session.trained) == measured


def test_faithfulness_has_a_row_for_every_method_and_names_what_does_not_beat_chance(session):
    table = pd.read_csv(session.results / "gradcam_faithfulness.csv", keep_default_na=False)
    methods = {*explainer.METHODS, *CONTROLS, "grad-cam stretched"}
    assert set(table.method) == methods and len(table) == 15
    assert set(table[table.method == "layer-cam"].layer) == {"block3_conv2_relu", "fused"}
    assert set(table.images) == {6} and set(table.model) == {"custom_cnn"}
    for removal, control in itertools.product(REMOVALS, CONTROLS):
        areas = {what: table[f"{what}_area_{removal}"] for what in ("deletion", "insertion")}
        assert all(area.between(0, 1).all() for area in areas.values())
        gains = {what: table[f"{what}_gain_over_{control}_{removal}"] for what in areas}
        found = {what: areas[what][table.method == control].iloc[0] for what in areas}
        np.testing.assert_allclose(gains["deletion"], found["deletion"] - areas["deletion"], atol=1e-5)
        np.testing.assert_allclose(gains["insertion"], areas["insertion"] - found["insertion"], atol=1e-5)
        beaten = {what: gains[what] > table[f"{what}_gain_over_{control}_{removal}_error"] for what in areas}
        verdict = table[f"beats_{control}_{removal}"]
        assert ((verdict == "yes") == (beaten["deletion"] & beaten["insertion"])).all()
        assert ((verdict == "no") == ~(beaten["deletion"] | beaten["insertion"])).all()
    eigen = table[table.method == "eigen-cam"].likeness_0_percent_random  # the logits are not in it
    np.testing.assert_allclose(eigen.astype(float), 1, atol=1e-6)
    assert "does not beat" in session.done["faithfulness"].stdout


def test_the_cost_of_every_model_is_a_ratio_of_the_measured_seconds(session):
    models = json.loads((session.small / "benchmark_gradcam.json").read_text())["models"]
    assert [model["model"] for model in models] == list(SMALL)
    for model in models:
        seconds, ratios = model["seconds"], model["ratios"]
        assert {*cam.METHODS, "layer-cam fused", explainer.DEFAULT_METHOD} == set(ratios)
        assert ratios == {name: pytest.approx(seconds[name] / seconds["forward"]) for name in ratios}


def test_no_picture_is_blank(session):
    paths = [*session.results.glob("*.png"), *session.small.glob("*.png")]
    assert len(paths) == 24
    for path in paths:
        pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
        assert min(pixels.shape[:2]) > 300 and pixels.std() > 20, path.name
        coloured = (np.ptp(pixels, axis=-1) > 60).mean()  # lines, bars, heat; axes and text alone are grey
        dark = (pixels.max(axis=-1) < 60).mean()  # the black around digits; that of text is a hundredth
        assert coloured > 1e-4 or dark > 0.1, path.name


@pytest.mark.parametrize("prefix", TRAINING)
def test_metrics_have_every_figure_in_its_type_and_name_no_folder(session, prefix):
    text = (session.results / f"{prefix}_metrics.json").read_text()
    metrics = json.loads(text)
    types = {
        **dict.fromkeys(("dataset", "recipe", "commit"), str),
        **dict.fromkeys(("seed", "n_train", "n_validation", "n_test", "parameters", "epochs"), int),
        **dict.fromkeys(("training_seconds", "test_accuracy", "test_loss", "macro_f1", "weighted_f1"), float),
        **dict.fromkeys(("cpu_ms_per_sample", "wall_seconds"), float),
        **dict.fromkeys(("config", "hardware", "versions"), dict),
    }
    assert {name: type(metrics[name]) for name in types} == types
    assert {"processor", "cores", "accelerator"} <= set(metrics["hardware"])
    assert {"python", "keras", "numpy", "backend"} <= set(metrics["versions"])
    assert metrics["n_train"] == metrics["n_validation"] == metrics["n_test"] == 96
    assert metrics["config"]["seed"] == metrics["seed"] == 0 and metrics["config"]["precision"] != "auto"
    assert not {"data_dir", "output_dir"} & set(metrics["config"])
    assert str(session.results.parent) not in text and str(PROJECT) not in text
    assert "toy data" in metrics["title"]


def test_weights_of_a_file_load_its_layers_and_say_which(session):
    metrics = json.loads((session.results / "resnet50_metrics.json").read_text())
    assert metrics["weights"]["file"] == "stem.h5" and list(metrics["files"]) == ["stem.h5"]
    assert metrics["weights"]["loaded"] == list(STEM) and "conv5_block3_3_conv" in metrics["weights"]["fresh"]
    assert "weights stem" in metrics["title"]
    said = session.done["resnet50"].stdout
    assert "2 layers from stem.h5 (conv1_conv to conv1_bn)" in said and "start fresh" in said
    saved = saved_model.load(session.results / "resnet50_model.h5").get_layer("conv1_bn").get_weights()
    for value, wanted in zip(saved[:2], list(STEM["conv1_bn"].values())[:2], strict=True):
        # Scale and shift have learned for one batch; the statistics are of these images now.
        np.testing.assert_allclose(value, wanted.astype(np.float32), atol=0.002)


@pytest.mark.parametrize("prefix", TRAINING)
def test_a_saved_model_takes_raw_float32_pixels_and_gives_rows_that_sum_to_1(session, prefix):
    model = keras.models.load_model(session.results / MODELS[prefix], compile=False, safe_mode=True)
    shape, classes = ((32, 32, 3), 20) if prefix == "cifar100" else ((28, 28, 1), 10)
    assert model.input_shape == (None, *shape) and model.inputs[0].dtype == "float32"
    assert {variable.dtype for variable in model.weights} == {"float32"}
    rows = model.predict(np.random.default_rng(0).uniform(0, 255, (5, *shape)).astype(np.float32), verbose=0)
    assert rows.shape == (5, classes) and rows.dtype == np.float32
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
    assert len(saved_model.metadata(session.results / MODELS[prefix])["class_names"]) == classes


def test_the_figures_are_those_of_the_saved_model_on_the_test_images(session):
    metrics = json.loads((session.results / "custom_cnn_metrics.json").read_text())
    dataset = datasets.prepare(config.parse(mnist_classification.Config, MNIST[1:]))
    model = saved_model.load(session.results / "custom_cnn_model.h5")
    probabilities = saved_model.predict(model, dataset.x_test)
    predicted = probabilities.argmax(axis=1)
    assert metrics["test_accuracy"] == pytest.approx(reference.accuracy_score(dataset.y_test, predicted))
    assert metrics["macro_f1"] == pytest.approx(reference.f1_score(dataset.y_test, predicted, average="macro"))
    loss = reference.log_loss(dataset.y_test, probabilities.astype(float), labels=range(10))
    assert metrics["test_loss"] == pytest.approx(loss, rel=1e-4)
    assert metrics["parameters"] == model.count_params()


def test_comparison_has_a_row_for_every_model(session):
    rows = {row["file"]: row for row in json.loads((session.small / "model_comparison.json").read_text())["models"]}
    assert set(rows) == set(SMALL.values())
    for name, row in rows.items():
        assert row["n_test"] in (450, 1000) and row["multiply_accumulates"] > 1e6
        assert [timed["runtime"] for timed in row["runtimes"]] == ["Keras predict", "Keras call"]  # nothing exported
        for timed in row["runtimes"]:
            assert timed["file_megabytes"] == pytest.approx((session.small / name).stat().st_size / 1e6)
            assert timed["accuracy_low"] < timed["test_accuracy"] < timed["accuracy_high"]
            assert min(timed["batches"][batch]["median_ms"] for batch in ("1", "32", "256")) > 0
    assert "left out" in session.done["comparison"].stdout


def test_a_broken_picture_is_named_and_the_others_are_explained(session):
    done = session.done["broken picture"]
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and "broken.png" in done.stderr
    assert "whole.png" in done.stdout and (session.results / "custom_cnn_photos_gradcam.png").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no data", "mnist.npz is not in"),
        ("no models", "cifar100_cnn.py"),
        ("damaged model", "broken.png"),
        ("other seed", "seed was 0 and is 5"),
    ],
)
def test_bad_input_ends_with_exit_code_2_and_one_line_on_stderr(session, name, says):
    done = session.done[name]
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: ") and says in done.stderr


def test_resuming_a_finished_run_says_so_and_no_refused_run_changes_a_file(session):
    assert "finished" in session.done["finished"].stdout
    assert {name: session.afterwards[name] for name in session.trained} == session.trained
    assert set(session.afterwards) - set(session.trained) == {"custom_cnn_photos_gradcam.png"}


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no signals to another process")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_process_says_in_one_line_how_to_go_on_and_keeps_its_state(tmp_path, sent, code):
    command = [sys.executable, str(PROJECT / "mnist_classification.py"), "--dataset", "digits", "--filters", "2"]
    flags = ["--limit", "256", "--batch-size", "32", "--epochs", "1000", "--output-dir", str(tmp_path)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment(tmp_path)}
    with subprocess.Popen([*command, *flags], **options) as process:
        while (line := process.stdout.readline()) and not line.lstrip().startswith("2/"):
            pass
        process.send_signal(sent)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "--resume" in errors and len(errors.split("\n")) <= 3 and "Traceback" not in errors
    assert (tmp_path / "custom_cnn_checkpoint.npz").exists()
    assert [path.name for path in tmp_path.glob(".*")] == [".custom_cnn_run.lock"], "a temporary file was left behind"
