"""The novelty score: what is unlike the training images is told apart, by a saved model and by its ONNX export."""

import dataclasses
import json
import shutil

import h5py
import numpy as np
import pytest
from PIL import Image

import mnist_classification
import predict
from pipeline.backend import keras
from pipeline.data import datasets
from pipeline.data.rows import Rows
from pipeline.deploy import export, runtimes
from pipeline.errors import UserError
from pipeline.models import novelty, saved_model


@pytest.fixture(scope="module")
def dataset(digits):
    return datasets.split(digits, 0.2)


@pytest.fixture(scope="module")
def plain(dataset, tmp_path_factory):
    """A small custom CNN that has learnt the embedded digits, without the score."""
    keras.utils.set_random_seed(0)
    model = mnist_classification.build_model(mnist_classification.Config(filters=8, dropout=0.0))
    model.compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", jit_compile=False)
    model.fit(dataset.x_train, dataset.y_train, batch_size=64, epochs=8, verbose=0)
    path = tmp_path_factory.mktemp("models") / "model.h5"
    about = {"prefix": "small", "dataset": "digits", "title": "small", "class_names": list("0123456789")}
    saved_model.save(model, path, image_shape=(28, 28, 1), **about)
    return path


@pytest.fixture(scope="module")
def scored(plain, dataset):
    path = plain.with_name("scored.h5")
    shutil.copy(plain, path)
    novelty.add(path, dataset)
    return path


@pytest.fixture
def foreign():
    """Checkerboards of several widths, (4, 28, 28, 1) uint8."""
    y, x = np.mgrid[:28, :28]
    return np.stack([255 * ((x // width + y // width) % 2) for width in (1, 2, 3, 5)])[..., None].astype(np.uint8)


def test_few_test_digits_and_every_other_picture_are_above_1(scored, dataset, foreign):
    score = runtimes.open_model(scored).novelty
    assert (score(foreign) > 1).all()
    assert np.mean(score(dataset.x_test) > 1) < 0.05
    assert np.mean(score(dataset.x_validation) > 1) <= 0.01, "the threshold is theirs"


def test_the_model_is_the_same_with_its_score_and_anyone_can_open_it(plain, scored, dataset):
    images = dataset.x_test[:20].astype(np.float32)
    before, after = (keras.models.load_model(path, compile=False) for path in (plain, scored))
    assert len(after.outputs) == 1
    np.testing.assert_array_equal(before.predict(images, verbose=0), after.predict(images, verbose=0))
    assert saved_model.metadata(plain) == saved_model.metadata(scored)


def test_training_images_on_the_disk_are_read_a_batch_at_a_time(plain, dataset, tmp_path, monkeypatch):
    path = tmp_path / "pixels"
    path.write_bytes(dataset.x_train.tobytes())
    stored = Rows(path, dataset.image_shape, np.arange(len(dataset.x_train)))
    read, usual = [], Rows._read
    monkeypatch.setattr(Rows, "_read", lambda self, places: read.append(len(places)) or usual(self, places))
    model = saved_model.open_model(plain).model
    expected = novelty.fit(model, dataset)
    for name, arrays in novelty.fit(model, dataclasses.replace(dataset, x_train=stored)).items():
        for array, usual_array in zip(arrays, expected[name], strict=True):
            np.testing.assert_array_equal(array, usual_array)
    assert max(read) == 250


def test_it_is_the_mahalanobis_distance_of_averaged_activations(plain, dataset):
    model = saved_model.open_model(plain).model
    statistics = novelty.fit(model, dataset)
    assert list(statistics) == ["block1_conv2_relu", "block2_conv2_relu", "block3_conv2_relu"]
    score = saved_model.predict(keras.Model(model.input, novelty.score(model, statistics)), dataset.x_test[:10])
    expected = np.zeros(10)
    for name, (whitening, means) in statistics.items():
        maps = saved_model.predict(keras.Model(model.input, model.get_layer(name).output), dataset.x_test[:10])
        whitened = maps.mean(axis=(1, 2)) @ whitening
        expected += ((whitened[:, None] - means) ** 2).sum(axis=2).min(axis=1)
    np.testing.assert_allclose(score, expected, rtol=1e-3)


def test_a_second_time_gives_the_same_file_content(scored, dataset):
    with h5py.File(scored) as file:
        before = file.attrs["sha256"]
    novelty.add(scored, dataset)
    with h5py.File(scored) as file:
        assert file.attrs["sha256"] == before


def test_without_feature_maps_the_file_stays_as_it_is(dataset, tmp_path):
    pixels = keras.Input((28, 28, 1))
    outputs = keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(pixels))
    about = {"prefix": "flat", "dataset": "digits", "title": "flat", "class_names": list("0123456789")}
    saved_model.save(keras.Model(pixels, outputs), tmp_path / "flat.h5", image_shape=(28, 28, 1), **about)
    before = (tmp_path / "flat.h5").read_bytes()
    novelty.add(tmp_path / "flat.h5", dataset)
    assert (tmp_path / "flat.h5").read_bytes() == before
    assert runtimes.open_model(tmp_path / "flat.h5").novelty is None


@pytest.mark.parametrize(
    "arrays",
    [
        {"whitening": np.ones((3, 3)), "means": np.ones((10, 3))},
        {"whitening": np.ones((8, 3)), "means": np.ones((10, 4))},
        {"whitening": np.ones((8, 3)), "means": np.ones(3)},
        {"whitening": np.ones((8, 3))},
    ],
)
def test_a_score_that_does_not_fit_the_model_is_bad_input(plain, arrays, tmp_path):
    path = tmp_path / "model.h5"
    shutil.copy(plain, path)
    with h5py.File(path, "a") as file:
        del file.attrs["sha256"]
        for key, array in arrays.items():
            file[f"novelty/block1_conv2_relu/{key}"] = array
    with pytest.raises(UserError, match="novelty"):
        runtimes.open_model(path)


def test_an_onnx_export_gives_the_same_score_and_answers_as_before(scored, dataset, foreign):
    for package in ("onnx", "tf2onnx", "onnxruntime"):
        pytest.importorskip(package, reason="optional: pip install -e .[export]")
    saved = saved_model.open_model(scored)
    images = np.concatenate([dataset.x_test[:40], foreign])
    expected = saved_model.predict(saved.model, images)
    reference = export.Reference(images, expected.argmax(axis=1), expected)
    path = scored.with_suffix(".onnx")
    graph, statistics = export.fold_batch_norm(saved.model), novelty.stored(saved)
    check = export.export(graph, "onnx", path, images, saved.metadata, reference, reference, statistics)
    assert check.failure is None
    opened = runtimes.open_model(path)
    np.testing.assert_allclose(opened.predict(images), expected, atol=1e-4)
    score = runtimes.open_model(scored).novelty(images)
    np.testing.assert_allclose(opened.novelty(images), score, rtol=1e-2)


def test_predict_says_what_does_not_look_like_a_digit(plain, scored, dataset, foreign, tmp_path, capsys):
    digit = dataset.x_test[0].copy()
    pictures = {"digit.png": digit, "pattern.png": np.pad(foreign[3][2:-2, 2:-2], ((2, 2), (2, 2), (0, 0)))}
    for name, pixels in pictures.items():
        pixels[[0, -1]] = pixels[:, [0, -1]] = 0  # taken as it is
        Image.fromarray(pixels[..., 0]).save(tmp_path / name)
    assert predict.main([str(scored), str(tmp_path)]) == 0
    _, of_digit, of_pattern = capsys.readouterr().out.splitlines()
    assert "not look like a digit" in of_pattern and "not look" not in of_digit
    assert predict.main([str(scored), str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["images"]
    assert [image["foreign"] for image in found] == [False, True]
    assert found[0]["novelty"] < 1 < found[1]["digits"][0]["novelty"]
    assert predict.main([str(plain), str(tmp_path), "--json"]) == 0
    assert not any({"novelty", "foreign"} & set(image) for image in json.loads(capsys.readouterr().out)["images"])


def test_own_digits_have_as_few_false_alarms_as_the_named_ones(plain, dataset):
    own, model = dataclasses.replace(dataset, name="collected"), saved_model.open_model(plain).model
    assert own.digits
    for name, (whitening, _) in novelty.fit(model, dataset).items():
        np.testing.assert_array_equal(novelty.fit(model, own)[name][0], whitening)


def test_a_rare_class_is_among_the_images_of_the_statistics(monkeypatch):
    monkeypatch.setattr(novelty, "IMAGES", 100)
    labels = np.repeat([0, 1, 2], [150, 5, 90])
    chosen = novelty.representative(labels)
    assert np.bincount(labels[chosen]).tolist() == [100, 5, novelty.FEW]
    np.testing.assert_array_equal(novelty.representative(labels[:80]), np.arange(80))


def test_few_training_images_are_enough(plain, dataset):
    few = {f"{kind}_train": getattr(dataset, f"{kind}_train")[:12] for kind in "xy"}
    few |= {f"{kind}_validation": getattr(dataset, f"{kind}_validation")[:3] for kind in "xy"}
    statistics = novelty.fit(saved_model.open_model(plain).model, dataclasses.replace(dataset, **few))
    assert all(np.isfinite(array).all() for arrays in statistics.values() for array in arrays)
