"""Intervals and tests against their definitions, counted operations, fair timing in turns, and where results go."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mnist_classification
import model_comparison
from pipeline.backend import keras
from pipeline.deploy import comparison, comparison_plot, latency, runtimes
from pipeline.errors import UserError
from pipeline.evaluate import metrics
from pipeline.models import macs, saved_model
from pipeline.report import speed

layers = keras.layers


@pytest.mark.parametrize(("right", "n"), [(9977, 10000), (8073, 10000), (450, 450), (0, 20), (7, 20)])
def test_wilson_interval_as_wilson_wrote_it(right, n):
    z, p = 1.959963984540054, right / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert metrics.wilson(right, n) == pytest.approx((max(centre - half, 0), min(centre + half, 1)), abs=1e-9)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (5, 5), (1, 8), (8, 1), (30, 12), (3, 0)])
def test_mcnemar_counts_every_more_uneven_split(only_a, only_b):
    right_a = np.repeat([True, False, True, False], [only_a, only_b, 40, 7])
    right_b = np.repeat([False, True, True, False], [only_a, only_b, 40, 7])
    n = only_a + only_b
    splits = [math.comb(n, k) for k in range(n + 1) if abs(2 * k - n) >= abs(only_a - only_b)]
    assert metrics.mcnemar(right_a, right_b) == (only_a, only_b, pytest.approx(sum(splits) / 2**n))


def test_models_of_one_name_are_told_apart_by_their_folders():
    paths = [Path("runs/default/m.h5"), Path("runs/best/m.h5"), Path("other.h5")]
    assert comparison.names(paths) == ["default/m", "best/m", "other"]


def test_an_export_is_not_called_a_damaged_model(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"onnx")
    with pytest.raises(UserError, match=r"m\.onnx is no \.h5 file"):
        model_comparison.main([str(tmp_path / "m.onnx"), "--output-dir", str(tmp_path)])


def test_multiply_accumulates_of_the_custom_cnn_counted_by_hand():
    model = mnist_classification.build_model(mnist_classification.Config(filters=32, pool_first=False))
    blocks = 28 * 28 * 9 * (1 * 32 + 32 * 32) + 14 * 14 * 9 * (32 * 64 + 64 * 64) + 7 * 7 * 9 * (64 * 128 + 128 * 128)
    assert macs.multiply_accumulates(model) == blocks + 128 * 10
    model = mnist_classification.build_model(mnist_classification.Config(filters=32))
    first = 28 * 28 * 9 * 1 * 32 + 14 * 14 * 9 * 32 * 64 + 7 * 7 * 9 * 64 * 128
    second = 14 * 14 * 9 * 32 * 32 + 7 * 7 * 9 * 64 * 64 + 3 * 3 * 9 * 128 * 128  # after the pooling
    assert macs.multiply_accumulates(model) == first + second + 128 * 10


def test_multiply_accumulates_know_stride_and_valid_padding_and_refuse_what_they_do_not_know():
    pixels = keras.Input((9, 9, 2))
    x = layers.Conv2D(4, 3, strides=2)(pixels)  # 4x4 places
    assert macs.multiply_accumulates(keras.Model(pixels, x)) == 4 * 4 * 3 * 3 * 2 * 4
    x = layers.Conv2DTranspose(4, 3)(x)
    with pytest.raises(UserError, match="Conv2DTranspose"):
        macs.multiply_accumulates(keras.Model(pixels, x))


def test_a_dense_layer_over_a_map_counts_at_every_place():
    pixels = keras.Input((9, 9, 4))
    assert macs.multiply_accumulates(keras.Model(pixels, layers.Dense(5)(pixels))) == 9 * 9 * 4 * 5


def test_multiply_accumulates_of_convolutions_channel_by_channel():
    pixels = keras.Input((9, 9, 4))
    depthwise = keras.Model(pixels, layers.DepthwiseConv2D(3, depth_multiplier=2)(pixels))  # 7x7 places
    assert macs.multiply_accumulates(depthwise) == 7 * 7 * 3 * 3 * 4 * 2
    separable = keras.Model(pixels, layers.SeparableConv2D(6, 3, strides=2)(pixels))  # 4x4 places
    assert macs.multiply_accumulates(separable) == 4 * 4 * (3 * 3 * 4 + 4 * 6)


def test_multiply_accumulates_of_an_attention_over_a_map():
    pixels = keras.Input((8, 8, 6))
    few = layers.AveragePooling2D(2)(pixels)  # 64 queries, 16 keys and values
    x = layers.MultiHeadAttention(2, 3, value_dim=5, attention_axes=(1, 2))(pixels, few)
    weights = 64 * 6 * 2 * 3 + 16 * 6 * 2 * 3 + 16 * 6 * 2 * 5 + 64 * 2 * 5 * 6
    assert macs.multiply_accumulates(keras.Model(pixels, x)) == weights + 2 * (3 + 5) * 64 * 16


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    model = mnist_classification.build_model(mnist_classification.Config(filters=2))
    path = tmp_path_factory.mktemp("models") / "model.h5"
    about = {"prefix": "t", "dataset": "digits", "title": "t", "class_names": list("0123456789")}
    saved_model.save(model, path, image_shape=(28, 28, 1), **about)
    return path


def test_runtimes_take_turns_each_in_a_process_of_its_own(model_file, digits, monkeypatch):
    order, ask = [], latency.Worker.ask

    def noted(worker, batch, calls):
        order.append((worker.name, batch, calls))
        ask(worker, batch, calls)

    monkeypatch.setattr(latency.Worker, "ask", noted)
    monkeypatch.setattr(latency, "CALLS", {1: 3, 32: 2})
    ballast = np.ones((2000, 1000, 100), np.uint8)  # of this process; a runtime's memory must not contain it
    told = []
    with latency.matrix_products({"float32": 64}, 1) as products:
        found = latency.interleaved({"Keras call": model_file, **products}, digits.x_test, 1, 2, told.append)
    assert told == [1, 2]
    for timed in found.values():
        assert {batch: len(seconds) for batch, seconds in timed["seconds"].items()} == {1: 6, 32: 4}
        assert min(min(seconds) for seconds in timed["seconds"].values()) > 0
        assert 50 < timed["peak_megabytes"] < 50 + megabytes_without(ballast)
    a, b = "Keras call", "matmul float32"
    expected = [(a, 1, 3), (b, 1, 3), (a, 32, 2), (b, 32, 2), (b, 1, 3), (a, 1, 3), (b, 32, 2), (a, 32, 2)]
    assert order == [(a, 1, 0), (b, 1, 0), (a, 32, 0), (b, 32, 0), *expected]


def megabytes_without(ballast):
    """MB that this process holds beside its ballast, and 100 more."""
    from pipeline.system import peak_megabytes

    peak = peak_megabytes()
    assert peak > ballast.nbytes / 1e6
    return peak - ballast.nbytes / 1e6 + 100


def test_a_runtime_that_stops_is_named_with_what_it_said(tmp_path, digits):
    with pytest.raises(UserError, match=r"Keras call stopped.*gone\.h5 does not exist"):
        latency.interleaved({"Keras call": tmp_path / "gone.h5"}, digits.x_test, 1, 1)


def entry(name, dataset, accuracy, ms):
    """A model's entry with made-up times: runtime -> ms of one image; a batch costs its images times that."""
    return {
        "name": name,
        "title": f"{name} on {dataset}",
        "file": f"{name}.h5",
        "dataset": dataset,
        "n_test": 1000,
        "parameters": 10,
        "multiply_accumulates": 500_000,
        "runtimes": [
            {
                "runtime": runtime,
                "file": name + runtimes.RUNTIMES[runtime][0],
                "file_megabytes": 4.0 if runtime != "LiteRT int8" else 1.0,
                **comparison.accuracy(np.arange(1000) < 1000 * accuracy),
                "peak_megabytes": 300.0,
                "batches": {str(n): comparison.speed(n, [n * one / 1000] * 3) for n in (1, 32, 256)},
            }
            for runtime, one in ms.items()
        ],
    }


@pytest.fixture
def result():
    ms = {"Keras predict": 40, "Keras call": 10, "ONNX Runtime": 2, "LiteRT float32": 2.5, "LiteRT int8": 0.5}
    entries = [
        entry("cifar100_cnn", "cifar100", 0.8, ms),
        entry("custom_cnn", "mnist", 0.997, ms),
        entry("resnet50", "mnist", 0.995, {name: 5 * one for name, one in ms.items()}),
    ]
    for one in entries:
        comparison.add_ratios(one, {"float32": 100.0, "bfloat16": 200.0})
    right = [{name: np.arange(1000) % 5 > 0 for name in ms} for _ in entries]
    right[2]["Keras predict"] = np.arange(1000) % 5 > 1
    return {
        "models": entries,
        "differences": comparison.differences(entries, right),
        "matrix_peak_gflops": {"float32": 100.0, "bfloat16": 200.0},
        "threads": 2,
        "rounds": 3,
        "hardware": {"processor": "a processor", "cores": 2, "accelerator": "none", "bfloat16": False},
    }


def test_speed_is_median_and_percentile_of_single_calls():
    measured = comparison.speed(32, [0.001] * 19 + [0.1])
    assert measured["median_ms"] == pytest.approx(1) and measured["images_per_second"] == pytest.approx(32000)
    assert measured["p95_ms"] == pytest.approx(1000 * np.percentile([0.001] * 19 + [0.1], 95))


def test_ratios_follow_from_times_and_counted_operations(result):
    int8 = result["models"][0]["runtimes"][4]["batches"]["256"]
    assert int8["speedup"] == pytest.approx(80)
    assert int8["gflops"] == pytest.approx(2 * 500_000 * 2000 / 1e9)
    assert (
        int8["fraction_of_float32_peak"] == pytest.approx(int8["gflops"] / 100) == 2 * int8["fraction_of_bfloat16_peak"]
    )


def test_models_are_compared_on_their_own_data_set_alone(result):
    pairs = [(row["a"], row["b"]) for row in result["differences"]]
    assert pairs[0] == ("custom_cnn, Keras predict", "resnet50, Keras predict")
    assert len(pairs) == 4 and not any("cifar100" in a and "custom" in b for a, b in pairs)
    assert (result["differences"][0]["only_a"], result["differences"][0]["only_b"]) == (200, 0)
    assert result["differences"][0]["p_value"] < 1e-9 and result["differences"][1]["p_value"] == 1


def test_a_row_for_every_model_runtime_and_batch(result):
    table = comparison.table(result["models"])
    assert len(table) == 3 * 5 * 3 and not table.duplicated(["name", "runtime", "batch"]).any()
    assert table.notna().all(axis=None) and all(np.isscalar(value) for value in table.to_numpy().ravel())


def test_text_and_markdown_give_what_was_measured(result, monkeypatch):
    monkeypatch.setattr(speed, "read", lambda name: result)
    text, table, tests = comparison.text(result), speed.comparison(), speed.differences()
    for entry_ in result["models"]:
        for timed in entry_["runtimes"]:
            one = timed["batches"]["1"]["median_ms"]
            (line,) = [row for row in table.splitlines() if entry_["name"] in row and f"| {timed['runtime']} |" in row]
            assert f"| {one:.2f} (" in line and f"{timed['test_accuracy']:.4f}" in line
            assert any(
                entry_["name"] in row and timed["runtime"] in row and f"{one:.2f}" in row for row in text.splitlines()
            )
    assert len({row.count("|") for row in table.splitlines()}) == 1 and "bfloat16" not in table
    result["hardware"].update(processor="a processor amx_bf16", bfloat16=True)
    assert "at 256: of the 200 GFLOP/s of bfloat16 products" in speed.comparison()
    assert "< 0.0001" in tests and "| 200 | 0 |" in tests and "100 GFLOP/s" in text


@pytest.mark.parametrize("models", [1, 3])
def test_one_model_can_be_plotted_and_all(result, models, tmp_path):
    comparison_plot.draw({**result, "models": result["models"][:models]}, tmp_path / "a.png")
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    assert min(pixels.shape[:2]) > 400 and (np.ptp(pixels, axis=-1) > 60).sum() > 500


@pytest.fixture
def not_timed(monkeypatch):
    """test_scripts.py times the real thing, which takes long."""

    def timed(sources, *_):
        return {name: {"seconds": {1: [0.02], 32: [0.1], 256: [0.5]}, "peak_megabytes": 9.0} for name in sources}

    monkeypatch.setattr(latency, "interleaved", timed)


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [(["{model}"], "output/demo"), (["{model}", "--output-dir", "there"], "there"), ([], "output")],
)
def test_named_models_never_replace_the_comparison_of_the_finished_ones(
    arguments, folder, model_file, tmp_path, monkeypatch, not_timed
):
    monkeypatch.chdir(tmp_path)
    Path("output").mkdir()
    shutil.copy(model_file, "output/custom_cnn_model.h5")
    Path("output/model_comparison.json").write_text("{}")
    assert model_comparison.main([argument.format(model=model_file) for argument in arguments]) == 0
    written = {path.parent for path in tmp_path.rglob("model_comparison.png")}
    assert written == {tmp_path / folder}
    result = json.loads((tmp_path / folder / "model_comparison.json").read_text())
    assert result["schema"] == 1 and len(result["models"]) == 1
    assert (Path("output/model_comparison.json").read_text() == "{}") == (folder != "output")


def test_exports_of_an_earlier_model_are_left_out(model_file, tmp_path, monkeypatch, capsys):
    model = tmp_path / "model.h5"
    shutil.copy(model_file, model)
    for name in ("model.onnx", "model_float32.tflite", "model_int8.tflite"):
        (tmp_path / name).touch()
    sources = {"model.onnx": runtimes.sha256(model), "model_float32.tflite": "another"}

    def opened(path):
        if path.name not in sources:
            raise UserError("damaged")
        return runtimes.Opened(None, (28, 28, 1), {"source_sha256": sources[path.name]})

    monkeypatch.setattr(runtimes, "installed", lambda runtime: True)
    monkeypatch.setattr(runtimes, "open_model", opened)
    assert set(model_comparison.runnable(model)) == {"Keras predict", "Keras call", "ONNX Runtime"}
    said = capsys.readouterr().out
    assert "model_float32.tflite is left out" in said and "model_int8.tflite is left out" in said
