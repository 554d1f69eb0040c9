"""The transfer experiment with a tiny stand-in for ResNet50: budgets, subsets, resuming, and its default run."""

import dataclasses
import itertools
import json

import numpy as np
import pandas as pd
import pytest
from conftest import write_weights
from matplotlib.text import Text
from PIL import Image

import mnist_classification as mnist
import resnet50_transfer_learning as resnet
from experiments import resnet50_transfer as experiment
from experiments import transfer_plot, transfer_setups, transfer_table, transfer_training
from pipeline import atomic_io
from pipeline.backend import keras, layers
from pipeline.data import datasets
from pipeline.errors import UserError
from pipeline.models import saved_model
from pipeline.report import tables
from pipeline.train import identity, resnet_weights

tensorflow = pytest.importorskip("tensorflow")
SETUPS = ("frozen conv4", "frozen conv5", "custom CNN", "pretrained", "random initialization")
COVERED = {"conv1_conv": {"kernel": np.full((3, 3, 1, 4), 0.1), "bias": np.zeros(4)}}


def tiny_resnet(config):
    """ResNet50's layer names in its order, one convolution a stage; the weights file lacks conv4 and conv5."""
    pixels = x = keras.Input((28, 28, 1), name="pixels")
    x = layers.Resizing(config.image_size // 4, config.image_size // 4)(x)
    x = layers.ReLU()(layers.Conv2D(4, 3, name="conv1_conv")(x))
    x = layers.BatchNormalization(name="conv4_bn")(layers.Conv2D(5, 3, name="conv4_conv")(x))
    x = layers.ReLU(name="conv4_block6_out")(x)
    x = layers.ReLU()(layers.Conv2D(6, 1, name="conv5_conv")(x))
    x = layers.Dropout(config.dropout, name="dropout")(layers.GlobalAveragePooling2D(name="features")(x))
    logits = layers.Dense(10, dtype="float32", name="logits")(x)
    return keras.Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(logits), name="tiny")


@pytest.fixture
def flags(tmp_path, monkeypatch):
    """Command line of a dry run in which both networks are tiny."""
    monkeypatch.setattr(resnet, "build_model", tiny_resnet)
    whole = mnist.build_model
    monkeypatch.setattr(mnist, "build_model", lambda config: whole(dataclasses.replace(config, filters=1)))
    weights = write_weights(tmp_path / "some.h5", COVERED)
    places = ["--weights", str(weights), "--output-dir", str(tmp_path / "results")]
    return ["--dry-run", "--dataset", "digits", "--precision", "float32", *places]


@pytest.fixture
def measure_with(monkeypatch):
    """Put a function of the row in the place of its training; no plots."""
    monkeypatch.setattr(transfer_plot, "draw", lambda *_: None)

    def replace(measure):
        monkeypatch.setattr(transfer_training, "measure", lambda row, *_: measure(row))

    return replace


def measured(accuracy=0.5):
    return {"test_accuracy": accuracy, "train_accuracy": 1.0, "training_seconds": 1.0, "source": "here"}


def table_of(tmp_path):
    return pd.read_csv(tmp_path / "results" / "resnet50_transfer.csv")


def test_every_setup_has_every_set_and_the_small_ones_three_times():
    rows = transfer_setups.plan(54_000)
    per_setup = {(100, seed) for seed in range(3)} | {(1_000, seed) for seed in range(3)} | {(10_000, 0), (54_000, 0)}
    setups = {(row.setup, row.size) for row in rows}
    assert setups == set(transfer_plot.STYLES)
    for setup in setups:
        assert {(row.images, row.seed) for row in rows if (row.setup, row.size) == setup} == per_setup
    assert len(rows) == len(setups) * len(per_setup)


def test_no_row_has_less_than_a_quarter_of_its_recipes_steps_and_all_images_have_the_recipes_own():
    custom, config = mnist.Config(), resnet.Config()
    passes = 54_000 // config.batch_size
    whole = {
        "custom CNN": custom.epochs * (54_000 // custom.batch_size),
        "frozen": config.head_epochs * passes,
        "tuned": config.epochs * passes,
    }
    for row in transfer_setups.plan(54_000):
        steps = whole.get(row.setup, whole["frozen" if row.setup.startswith("frozen") else "tuned"])
        assert row.steps >= round(steps / 4) and row.batch_size <= row.images
        if row.images == 54_000:
            recipe = custom if row.setup == "custom CNN" else config
            assert row.steps == steps and row.batch_size == recipe.batch_size
        if row.images == 100:
            assert row.batch_size == 64


def test_a_subset_is_stratified_the_same_for_every_setup_and_another_for_every_seed(digits):
    def chosen(**changed):
        row = transfer_setups.Row("custom CNN", 28, 100, 0, 64, 10)
        return transfer_training.subset(digits, dataclasses.replace(row, **changed))

    counts = np.bincount(digits.y_train[chosen()])
    assert counts.sum() == 100 and counts.min() >= 9 and len(set(chosen())) == 100
    np.testing.assert_array_equal(chosen(), chosen(setup="random initialization", size=32, batch_size=9))
    assert set(chosen()) != set(chosen(seed=1))
    np.testing.assert_array_equal(chosen(images=len(digits.y_train)), np.arange(len(digits.y_train)))


def test_steps_show_every_image_once_before_any_is_shown_again():
    images = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)
    batches = transfer_training.Steps(images, np.arange(10), 4, 8, seed=0, distort=None, phase=0)
    assert len(batches) == 8
    seen = np.concatenate([batches[step][1] for step in range(8)])
    for some in np.split(seen[:30], 3):
        assert sorted(some) == list(range(10))
    assert list(seen[:10]) != list(seen[10:20])
    np.testing.assert_array_equal(batches[3][0].ravel(), batches[3][1])
    later = transfer_training.Steps(images, np.arange(10), 4, 8, seed=0, distort=None, phase=1)
    assert list(later[0][1]) != list(batches[0][1])


def test_a_dry_run_measures_every_setup_and_draws_them(flags, eagerly, tmp_path):
    assert experiment.main(flags) == 0
    table = table_of(tmp_path)
    assert set(zip(table["setup"], table["size"], strict=True)) == set(transfer_plot.STYLES) and len(table) == 7
    assert table["test_accuracy"].between(0, 1).all() and table["train_accuracy"].between(0, 1).all()
    assert (table["training_seconds"] > 0).all()
    assert tuple(table.columns) == transfer_table.COLUMNS and table["bfloat16"].dtype == bool
    series = zip(table["setup"], table["size"], table["covers"], strict=True)
    labels = [transfer_setups.label_of(*one) for one in series]
    assert list(table["label"]) == labels and len(set(labels)) == 7
    loaded = ~table["setup"].isin(("custom CNN", "random initialization"))
    assert (table["images"] == 48).all() and ((table["covers"] == "conv1") == loaded).all()
    assert ((table["weights"] == "some.h5") == loaded).all() and str(tmp_path) not in table.to_csv()
    picture = np.asarray(Image.open(tmp_path / "results" / "resnet50_transfer.png").convert("RGB"))
    assert min(picture.shape[:2]) > 500 and picture.std() > 15
    assert {path.name for path in (tmp_path / "results").glob("[!.]*")} == {
        "resnet50_transfer.csv",
        "resnet50_transfer.png",
    }


def test_an_interrupted_run_keeps_its_rows_and_measures_only_the_others(flags, tmp_path, measure_with):
    done = []

    def three_then_interrupted(row):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(row)
        return measured(len(done) / 10)

    measure_with(three_then_interrupted)
    with pytest.raises(KeyboardInterrupt):
        experiment.main(flags)
    assert list(table_of(tmp_path)["test_accuracy"]) == [0.1, 0.2, 0.3]
    first, done[:] = list(done), []
    with pytest.raises(KeyboardInterrupt):
        experiment.main(flags)
    assert len({*first, *done}) == 6 and list(table_of(tmp_path)["test_accuracy"])[:4] == [0.1, 0.2, 0.3, 0.1]


def test_a_row_that_fails_is_named_and_does_not_stop_the_others(flags, tmp_path, monkeypatch, capsys):
    def all_but_pretrained(row, *_):
        if row.setup == "pretrained":
            raise UserError("the loss is nan")
        return measured()

    monkeypatch.setattr(transfer_training, "measure", all_but_pretrained)
    drawn = []
    monkeypatch.setattr(transfer_plot, "draw", lambda table, *_: drawn.append(len(table)))
    assert experiment.main(flags) == 1
    assert "pretrained, 48 images, seed 0 failed: the loss is nan" in capsys.readouterr().err
    assert set(table_of(tmp_path)["setup"]) == set(SETUPS) - {"pretrained"}
    assert drawn == [1, 2, 3, 4, 5, 6]
    experiment.main(flags)
    assert drawn[6:] == [6], "it is drawn again from the rows that are there"


@pytest.mark.parametrize("changed", ["weights", "recipe"])
def test_rows_of_other_settings_are_bad_input_and_stay(flags, tmp_path, monkeypatch, measure_with, changed):
    measure_with(lambda row: measured())
    assert experiment.main(flags) == 0
    before = table_of(tmp_path)
    if changed == "weights":
        flags[flags.index("--weights") + 1] = str(write_weights(tmp_path / "other.h5", COVERED))
    else:
        monkeypatch.setattr(transfer_setups, "MINIMUM_STEPS", 2)
    with pytest.raises(UserError, match=r"resnet50_transfer\.csv"):
        experiment.main(flags)
    pd.testing.assert_frame_equal(table_of(tmp_path), before)


def test_without_weights_there_is_nothing_to_compare(flags):
    flags[flags.index("--weights") + 1] = "none"
    with pytest.raises(UserError, match="--weights"):
        experiment.main(flags)


@pytest.mark.parametrize(
    ("changed", "differs"),
    [
        ({}, None),
        ({"seed": 3}, None),
        ({"learning_rate": 0.1}, "learning_rate"),
        ({"data_sha256": "another"}, "data"),
        ({"files": {"some.h5": "another"}}, "weights"),
    ],
)
def test_a_finished_default_run_is_the_row_for_all_images(digits, tmp_path, capsys, changed, differs):
    weights = write_weights(tmp_path / "some.h5", COVERED)
    config = resnet.Config(dataset="digits", weights=str(weights))
    metrics = {
        "config": {**identity.recorded(config), "precision": "bfloat16"},
        "files": resnet_weights.fingerprint(weights),
        "data_sha256": digits.sha256,
        "seed": 0,
        "test_accuracy": 0.99,
        "training_seconds": 5.0,
        "commit": "abc",
        "hardware": {"processor": "one", "cores": 2, "accelerator": "none", "bfloat16": True},
    }
    for name, value in changed.items():
        (metrics if name in metrics else metrics["config"])[name] = value
    (tmp_path / "resnet50_metrics.json").write_text(json.dumps(metrics))
    row = transfer_setups.Row("pretrained", 32, len(digits.y_train), 0, 512, 10)

    def found(row):
        return transfer_table.default_run(row, digits, tmp_path, config, weights)

    result = found(row)
    if differs:
        assert result is None and f"default recipe in {differs}" in capsys.readouterr().out
        return
    assert result["test_accuracy"] == 0.99 and result["train_accuracy"] is None
    assert result["source"] == f"resnet50_metrics.json, seed {metrics['seed']}"
    assert result["cores"] == 2 and result["bfloat16"] and result["commit"] == "abc"
    assert found(dataclasses.replace(row, images=100)) is None
    for setup in ("frozen conv4", "random initialization", "custom CNN"):
        assert found(dataclasses.replace(row, setup=setup)) is None


def test_a_row_taken_from_the_default_run_gives_way_to_a_newer_one(tmp_path):
    record = {"source": "resnet50_metrics.json, seed 0", "commit": "abc", "training_seconds": 5.0}
    assert not transfer_table.superseded(record, tmp_path), "there is no run to take its place"
    (tmp_path / "resnet50_metrics.json").write_text(json.dumps({"commit": "abc", "training_seconds": 5.0}))
    assert not transfer_table.superseded(record, tmp_path)
    (tmp_path / "resnet50_metrics.json").write_text(json.dumps({"commit": "def", "training_seconds": 5.0}))
    assert transfer_table.superseded(record, tmp_path)
    assert not transfer_table.superseded(record | {"source": "resnet50_transfer.py"}, tmp_path)


def test_frozen_features_are_those_behind_conv4_and_conv5_and_the_weights_those_of_the_file(flags, digits, tmp_path):
    few = datasets.shrink(digits, 20)
    train, test, seconds = transfer_training.frozen_features(few, tmp_path / "some.h5", 32)
    assert {setup: rows.shape for setup, rows in train.items()} == {"frozen conv4": (20, 5), "frozen conv5": (20, 6)}
    keras.utils.set_random_seed(0)
    model = tiny_resnet(resnet.Config())
    loaded = resnet_weights.load_weights(model, tmp_path / "some.h5")
    resnet_weights.calibrate(model, few.x_train, loaded["fresh"])
    maps = saved_model.predict(keras.Model(model.input, model.get_layer("conv4_block6_out").output), few.x_test)
    np.testing.assert_allclose(test["frozen conv4"], maps.mean(axis=(1, 2)), rtol=1e-4, atol=1e-4)
    behind = saved_model.predict(keras.Model(model.input, model.get_layer("features").output), few.x_test)
    np.testing.assert_allclose(test["frozen conv5"], behind, rtol=1e-4, atol=1e-4)
    assert seconds > 0


def test_every_row_is_trained_in_the_chosen_precision(flags, digits, tmp_path, monkeypatch):
    """Keras forgets the dtype policy when it clears a session."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    used = []
    monkeypatch.setattr(
        transfer_training, "train_custom_cnn", lambda row, x, y: used.append(keras.config.dtype_policy().name)
    )
    monkeypatch.setattr(saved_model, "inference_copy", lambda model, shape: None)
    monkeypatch.setattr(saved_model, "predict", lambda model, images: np.eye(10)[digits.y_test[: len(images)]])
    row = transfer_setups.Row("custom CNN", 28, 20, 0, 10, 2)
    for _ in range(2):
        result = transfer_training.measure(row, digits, tmp_path / "some.h5", None)
    assert used == ["mixed_bfloat16"] * 2 and result["test_accuracy"] == 1


def test_a_frozen_feature_that_no_training_image_has_stays_small_on_test_images(digits):
    keras.utils.set_random_seed(0)
    few = datasets.shrink(digits, 60)
    train = np.eye(10, dtype=np.float32)[few.y_train]
    test = np.eye(10, dtype=np.float32)[few.y_test]
    dead = np.zeros((60, 1), np.float32)
    features = {"frozen conv4": np.hstack([train, dead])}, {"frozen conv4": np.hstack([test, dead + 0.1])}, 0.5
    row = transfer_setups.Row("frozen conv4", 32, 60, 0, 20, 300)
    result = transfer_training.measure(row, few, None, lambda size: features)
    assert result["train_accuracy"] > 0.8
    assert result["test_accuracy"] > 0.5 and result["training_seconds"] > 0.5 * 60


def test_stages_are_those_that_came_whole():
    loaded = {"file": "f.h5", "loaded": ["conv1_conv", "conv2_a", "conv3_a", "conv3_b"], "fresh": ["conv4_a", "logits"]}
    assert resnet_weights.stages(loaded) == "conv1-conv3"
    assert resnet_weights.stages({**loaded, "fresh": ["conv2_b", "conv3_c"]}) == "conv1"
    with pytest.raises(UserError, match=r"f\.h5"):
        resnet_weights.stages({**loaded, "loaded": ["logits"]})
    whole_model = {**loaded, "loaded": [*loaded["loaded"], "logits"], "fresh": ["conv4_a"]}
    assert resnet_weights.stages(whole_model) == "conv1-conv3", "a head is no stage"


@pytest.fixture
def table():
    """Made-up results of the whole plan; the ends of several setups lie on each other."""
    rng, rows = np.random.default_rng(0), []
    for row in transfer_setups.plan(54_000):
        best = {"custom CNN": 0.9977, "pretrained": 0.9953, "random initialization": 0.995}.get(row.setup, 0.95)
        accuracy = 1 - (1 - best) * (54_000 / row.images) ** 0.55 * rng.uniform(0.9, 1.1)
        rows.append({**dataclasses.asdict(row), "test_accuracy": accuracy, "training_seconds": row.estimated_seconds()})
        rows[-1]["label"] = transfer_setups.label_of(row.setup, row.size, "conv1-conv4")
    common = {"covers": "conv1-conv4", "weights": "some.h5", "processor": "one", "cores": 2, "accelerator": "none"}
    common["bfloat16"] = False
    return pd.DataFrame(rows).assign(**common)


def test_the_plot_names_every_setup_beside_its_line_and_no_name_lies_on_another(table, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(transfer_plot, "save", lambda figure, path: figures.append(figure))
    transfer_plot.draw(table, "MNIST", tmp_path / "any.png")
    figures[0].draw_without_rendering()
    names = []
    for axes in figures[0].axes:
        boxes = sorted((Text.get_window_extent(text) for text in axes.texts), key=lambda box: box.y0)
        assert all(lower.y1 <= upper.y0 + 1 for lower, upper in itertools.pairwise(boxes))
        names += [" ".join(text.get_text().split()) for text in axes.texts]
    assert len(names) == len(set(names)) == 7
    assert "random, a control" in " ".join(names)
    assert "3 subsets" in " ".join(text.get_text() for text in figures[0].texts)


def test_the_table_of_the_texts_has_mean_and_deviation_of_the_draws(table, tmp_path, monkeypatch):
    (tmp_path / "output").mkdir()
    atomic_io.write_csv(tmp_path / "output" / "resnet50_transfer.csv", table)
    monkeypatch.chdir(tmp_path)
    lines = tables.transfer().splitlines()
    assert len(lines) == 2 + 7 and lines[0].count("|") == 6 and "54,000 images" in lines[0]
    few = table[(table["setup"] == "custom CNN") & (table["images"] == 100)]["test_accuracy"]
    (custom,) = (line for line in lines if "custom CNN" in line)
    assert f"{few.mean():.4f} ± {few.std(ddof=1):.4f}" in custom
