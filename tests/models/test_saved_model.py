"""Files that are whole or absent, and saved models that keep their contract and run no foreign code."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from conftest import PROJECT

from pipeline import atomic_io
from pipeline.backend import keras
from pipeline.errors import UserError
from pipeline.models import saved_model, untrusted

layers = keras.layers
ABOUT = {"prefix": "tiny", "dataset": "digits", "title": "a tiny one", "recipe": "default", "seed": 3}
ABOUT |= {"class_names": ["nought", "one"], "validation": 0.1}


def tiny():
    """A model like the scripts': raw pixels in, dropout and BatchNorm, float32 softmax of its own."""
    pixels = keras.Input((8, 8, 1), name="pixels")
    x = layers.Rescaling(1 / 255, dtype="float32")(pixels)
    x = layers.Conv2D(4, 3, padding="same", name="conv")(x)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.Add()([x, layers.Dropout(0.5)(x)])
    x = layers.GaussianNoise(1.0)(layers.GlobalAveragePooling2D()(layers.ReLU()(x)))
    return keras.Model(pixels, layers.Softmax(dtype="float32")(layers.Dense(2, dtype="float32")(x)), name="tiny")


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (9, 8, 8, 1), dtype=np.uint8)


@pytest.fixture
def trained(images):
    """Trained in mixed precision, so that BatchNorm has statistics and the optimizer has a state."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = tiny()
    model.compile("adam", loss="sparse_categorical_crossentropy", jit_compile=False)
    for _ in range(5):
        model.train_on_batch(images.astype(np.float32), np.arange(9) % 2)
    return model


@pytest.fixture
def saved(trained, tmp_path):
    path = tmp_path / "model.h5"
    saved_model.save(trained, path, image_shape=(8, 8, 1), **ABOUT)
    return path


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_saved_model_predicts_what_the_trained_one_does_in_float32_whoever_loads_it(trained, saved, images, policy):
    pixels = images + np.float32(0.3)  # bfloat16 would round it away
    keras.config.set_dtype_policy("float32")
    reference = tiny()
    reference.set_weights(trained.get_weights())
    expected = reference(pixels, training=False)
    keras.config.set_dtype_policy(policy)
    np.testing.assert_allclose(saved_model.predict(saved_model.load(saved), pixels), expected, atol=1e-6)


def test_a_saved_model_is_float32_uncompiled_stock_keras_without_random_layers(saved):
    model = keras.models.load_model(saved, compile=False, safe_mode=True)
    assert not model.compiled
    assert {layer.dtype_policy.name for layer in model.layers[1:]} == {"float32"}
    assert model.inputs[0].dtype == model.outputs[0].dtype == "float32"
    assert {variable.dtype for variable in model.variables} == {"float32"}
    assert not [layer.name for layer in model.layers if hasattr(layer, "seed_generator")]
    assert isinstance(model.layers[-1], layers.Softmax)
    with h5py.File(saved) as file:
        assert "optimizer_weights" not in file and "training_config" not in file.attrs


def test_saving_leaves_the_trained_model_fit_for_more_training(trained, saved, images):
    assert trained.trainable and trained.dtype_policy.name == "mixed_bfloat16"
    before = trained.get_weights()
    trained.train_on_batch(images.astype(np.float32), np.arange(9) % 2)
    assert not np.array_equal(before[0], trained.get_weights()[0])


def test_class_names_and_origin_travel_in_the_file(saved):
    assert saved_model.metadata(saved) == ABOUT


def test_a_file_is_opened_once_and_again_where_it_has_changed(trained, saved, monkeypatch):
    opened, load_model = [], keras.models.load_model

    def load(path, **options):
        opened.append(path)
        return load_model(path, **options)

    monkeypatch.setattr(keras.models, "load_model", load)
    first = saved_model.open_model(saved)
    assert saved_model.open_model(str(saved)) is first and len(opened) == 1
    assert (first.path, first.metadata, first.sha256) == (saved, ABOUT, atomic_io.sha256(saved))
    saved_model.save(trained, saved, image_shape=(8, 8, 1), **{**ABOUT, "title": "another"})
    second = saved_model.open_model(saved)
    assert len(opened) == 2 and second.metadata["title"] == "another" and second.sha256 != first.sha256


def test_a_file_of_another_project_is_refused_before_keras_opens_it(tmp_path, nothing_is_loaded):
    with pytest.raises(UserError, match="not saved by this project"):
        saved_model.open_model(plain_h5(tmp_path / "foreign.h5"))


def test_predict_gives_float32_rows_for_pixels_of_any_type_and_number(saved, images):
    model = saved_model.load(saved)
    rows = saved_model.predict(model, images, batch_size=2)
    assert rows.shape == (9, 2) and rows.dtype == np.float32
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(saved_model.predict(model, images.astype(np.float64)), rows, atol=1e-6)
    many = np.tile(images, (5, 1, 1, 1))
    np.testing.assert_allclose(saved_model.predict(model, many, batch_size=1), np.tile(rows, (5, 1)), atol=1e-6)


def plain_h5(path, *, layer=None):
    pixels = keras.Input((3,))
    keras.Model(pixels, layer(pixels) if layer else layers.Dense(2)(pixels)).save(path)
    return path


@pytest.fixture
def nothing_is_loaded(monkeypatch):
    """Keras may refuse foreign code by itself, but only while it rebuilds the model; that is too late."""
    monkeypatch.setattr(keras.models, "load_model", lambda *_, **__: pytest.fail("the file reached Keras"))


@pytest.mark.parametrize(("side", "sizes"), [(32, [250, 250]), (64, [62, 62, 62, 62, 62])])
def test_large_images_go_through_a_model_fewer_at_once(side, sizes):
    seen = []
    model = SimpleNamespace(compiled=True, predict_on_batch=lambda part: seen.append(len(part)) or part[:, 0, 0])
    rows = saved_model.predict(model, np.zeros((300, side, side, 1), np.uint8))
    assert rows.shape == (300, 1) and seen == sizes


def test_a_lambda_layer_is_refused_by_name_before_its_code_runs(tmp_path, nothing_is_loaded):
    path = plain_h5(tmp_path / "lambda.h5", layer=layers.Lambda(lambda x: x * 2))
    with pytest.raises(UserError, match="Lambda"):
        saved_model.load(path)


def test_a_lambda_layer_inside_a_nested_model_is_refused(tmp_path, nothing_is_loaded):
    inner_in = keras.Input((3,))
    inner = keras.Model(inner_in, layers.Lambda(lambda x: x * 2)(inner_in))
    with pytest.raises(UserError, match="Lambda"):
        saved_model.load(plain_h5(tmp_path / "nested.h5", layer=inner))


def test_a_lambda_hidden_in_an_activation_is_refused(tmp_path, nothing_is_loaded):
    path = plain_h5(tmp_path / "activation.h5", layer=layers.Dense(2, activation=lambda x: x * 2))
    with pytest.raises(UserError, match="lambda"):
        saved_model.load(path)


def test_a_registered_class_of_ones_own_is_refused(tmp_path, nothing_is_loaded):
    @keras.saving.register_keras_serializable("mine")
    class Foreign(layers.Layer):
        def call(self, inputs):
            return inputs

    path = plain_h5(tmp_path / "foreign.h5", layer=Foreign())
    with pytest.raises(UserError, match="Foreign"):
        saved_model.load(path)


@pytest.mark.parametrize("place", ["layer", "initializer"])
def test_a_class_from_another_module_is_refused_wherever_it_stands(tmp_path, place, nothing_is_loaded):
    path = plain_h5(tmp_path / "edited.h5")
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        dense = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")
        target = dense if place == "layer" else dense["config"]["kernel_initializer"]
        target |= {"class_name": "Popen", "module": "subprocess", "registered_name": None}
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(UserError, match="Popen"):
        saved_model.load(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dataset", None),
        ("title", 3),
        ("prefix", "../up"),
        ("class_names", ["a", 1]),
        ("validation", "all"),
        ("validation", 1.5),
    ],
)
def test_a_file_that_does_not_say_what_it_is_is_bad_input(trained, tmp_path, key, value):
    saved_model.save(trained, tmp_path / "odd.h5", image_shape=(8, 8, 1), **ABOUT | {key: value})
    with pytest.raises(UserError, match=r"odd\.h5 was not saved by this project"):
        saved_model.metadata(tmp_path / "odd.h5")


def truncated(path, whole):
    path.write_bytes(whole.read_bytes()[:3000])


def text(path, whole):
    path.write_text("not an HDF5 file")


def other_hdf5(path, whole):
    with h5py.File(path, "w") as file:
        file["numbers"] = [1, 2]


def nonsense_json(path, whole):
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = file.attrs[saved_model.ATTRIBUTE] = "{"


def weightless(path, whole):
    path.write_bytes(whole.read_bytes())
    with h5py.File(path, "a") as file:
        del file["model_weights"]


@pytest.mark.parametrize("damage", [truncated, text, other_hdf5, nonsense_json, weightless])
def test_a_damaged_model_file_is_bad_input_that_names_it(saved, tmp_path, damage):
    path = tmp_path / "broken.h5"
    damage(path, saved)
    with pytest.raises(UserError, match=r"broken\.h5"):
        saved_model.load(path)


@pytest.mark.parametrize("damage", [truncated, text, other_hdf5, nonsense_json])
def test_a_file_that_does_not_say_where_it_comes_from_is_bad_input(saved, tmp_path, damage):
    path = tmp_path / "broken.h5"
    damage(path, saved)
    with pytest.raises(UserError, match=r"broken\.h5"):
        saved_model.metadata(path)


def test_a_missing_model_is_bad_input_that_names_it(tmp_path):
    for reader in (saved_model.load, saved_model.metadata):
        with pytest.raises(UserError, match=r"nowhere\.h5 does not exist"):
            reader(tmp_path / "nowhere.h5")


def test_finished_models_names_the_script_of_each_missing_one(tmp_path, capsys):
    (tmp_path / "custom_cnn_model.h5").touch()
    assert saved_model.finished(tmp_path) == [tmp_path / "custom_cnn_model.h5"]
    said = capsys.readouterr().out
    assert "cifar100_cnn.py" in said and "resnet50_transfer_learning.py" in said and "mnist" not in said
    assert "best" not in said, "a run of hours is nothing to miss"
    (tmp_path / "cifar100_cnn_best.h5").touch()
    assert tmp_path / "cifar100_cnn_best.h5" in saved_model.finished(tmp_path)


def test_replacing_leaves_the_old_file_whole_and_nothing_beside_it_when_the_writer_fails(tmp_path):
    path = tmp_path / "figures.json"
    atomic_io.write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), atomic_io.replacing(path) as temporary:
        temporary.write_text("half of it")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["figures.json"]


def test_replacing_shows_the_new_file_only_when_it_is_whole(tmp_path):
    path = tmp_path / "figures.txt"
    path.write_text("old")
    with atomic_io.replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old" and temporary.suffix == ".txt"
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["figures.txt"]


def test_a_model_is_read_however_much_address_space_its_reader_holds_already(saved):
    """NumPy reserves 40 MB for every core that it sees."""
    code = "import mmap, sys; held = mmap.mmap(-1, 2 << 30); from pipeline.models import h5_scan; h5_scan.main()"
    done = subprocess.run([sys.executable, "-c", code, str(saved)], cwd=PROJECT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "")


@pytest.mark.parametrize("ended", [subprocess.TimeoutExpired("probe", 30), subprocess.CalledProcessError(-9, "probe")])
def test_a_reader_that_ended_badly_once_is_asked_again_and_names_the_file_as_it_was_given(saved, monkeypatch, ended):
    path = Path(os.path.relpath(saved))

    def failing(*_, **__):
        raise ended

    with monkeypatch.context() as patch:
        patch.setattr(untrusted.subprocess, "run", failing)
        untrusted._probed.cache_clear()
        with pytest.raises(UserError, match="^" + re.escape(f"{path} ")):
            untrusted.check(path)
    untrusted.check(path)
