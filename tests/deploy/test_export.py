"""Exports answer as Keras does; one that does not is reported and not kept."""

import json
import zipfile

import numpy as np
import pytest

import cifar100_cnn
import export_model
import mnist_classification
from pipeline.backend import keras
from pipeline.data import datasets
from pipeline.deploy import export, runtimes
from pipeline.errors import UserError
from pipeline.models import saved_model

for package in ("onnx", "tf2onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(package, reason="optional: pip install -e .[export]")

layers = keras.layers


def lived_in(model, seed=0):
    """Give a fresh model BatchNorm statistics as after training, and outputs that are sure of something."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_mean.assign(rng.normal(0, 0.3, layer.moving_mean.shape))
            layer.moving_variance.assign(rng.uniform(0.3, 2, layer.moving_variance.shape))
            layer.beta.assign(rng.normal(0, 0.3, layer.beta.shape))
            if layer.scale:
                layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
    return model


@pytest.fixture(scope="module")
def cifar(synthetic):
    """The CIFAR network, randomly initialized, made decisive: inference model, reference (labels are its answers)."""
    keras.utils.set_random_seed(0)
    model = lived_in(cifar100_cnn.build_model(cifar100_cnn.Config()))
    images = synthetic.x_test[:150]
    reader = keras.Model(model.input, model.get_layer("temper").output)
    features = reader.predict(images.astype("float32"), verbose=0)
    head, mean = model.get_layer("logits"), features.mean(axis=0)
    kernel = head.get_weights()[0]
    kernel -= np.outer(mean, mean @ kernel) / (mean @ mean)  # else every image is of the same class
    head.set_weights([kernel * (2 / (features @ kernel).std())])
    copy = saved_model.inference_copy(model, (32, 32, 3))
    probabilities = saved_model.predict(copy, images)
    return copy, export.Reference(images, probabilities.argmax(axis=1), probabilities)


@pytest.fixture(scope="module")
def digit_file(digits, tmp_path_factory):
    """A small custom CNN that has learnt the embedded digits, saved as a run saves it."""
    keras.utils.set_random_seed(0)
    model = mnist_classification.build_model(mnist_classification.Config(filters=8, dropout=0.0))
    model.compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", jit_compile=False)
    model.fit(digits.x_train, digits.y_train, batch_size=64, epochs=12, verbose=0)
    path = tmp_path_factory.mktemp("digits") / "custom_cnn_model.h5"
    about = {"prefix": "custom_cnn", "dataset": "digits", "title": "small", "class_names": list("0123456789")}
    saved_model.save(model, path, image_shape=(28, 28, 1), **about)
    return path


@pytest.fixture(scope="module")
def exported(digit_file):
    """Every export of the digit model, by the command, beside it: (exit code, folder)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "LARGEST_LOSS", 0.03)  # one point of 134 validation images is a single one
        return export_model.main([str(digit_file), "--calibration", "50"]), digit_file.parent


def of_kind(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


@pytest.mark.parametrize("recipe", ["fast", "baseline"])
def test_folding_leaves_no_batch_norm_in_the_cifar_networks_and_changes_no_answer(recipe, synthetic):
    model = lived_in(cifar100_cnn.build_model(cifar100_cnn.Config(recipe=recipe)))
    model = saved_model.inference_copy(model, (32, 32, 3))
    small = export.fold_batch_norm(model)
    assert not of_kind(small, (layers.BatchNormalization, layers.Normalization))
    images = synthetic.x_test[:16].astype("float32")
    before, after = (np.asarray(one(images, training=False)) for one in (model, small))
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert not np.allclose(before[0], before[1], atol=1e-4)


def test_batch_norm_that_turns_values_round_stays_behind_a_max_pooling():
    pixels = keras.Input((8, 8, 1))
    x = layers.BatchNormalization(name="norm")(layers.MaxPooling2D()(layers.Conv2D(3, 3, name="conv")(pixels)))
    model = lived_in(keras.Model(pixels, x))
    images = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 1)).astype("float32")
    assert not of_kind(export.fold_batch_norm(model), layers.BatchNormalization)
    model.get_layer("norm").gamma.assign([1.0, -1.0, 1.0])
    small = export.fold_batch_norm(model)
    assert of_kind(small, layers.BatchNormalization)
    np.testing.assert_allclose(np.asarray(small(images)), np.asarray(model(images)), rtol=1e-4, atol=1e-4)


def test_a_convolution_that_somebody_else_uses_too_is_not_folded_into():
    pixels = keras.Input((8, 8, 1))
    conv = layers.Conv2D(3, 3, name="conv")(pixels)
    model = lived_in(keras.Model(pixels, layers.Add()([layers.BatchNormalization()(conv), conv])))
    small = export.fold_batch_norm(model)
    assert of_kind(small, layers.BatchNormalization)
    images = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 1)).astype("float32")
    np.testing.assert_allclose(np.asarray(small(images)), np.asarray(model(images)), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("what", ["a model in it", "a layer called twice"])
def test_only_a_flat_graph_is_folded(what):
    pixels, again = keras.Input((8, 8, 1)), layers.Conv2D(1, 3, padding="same")
    start = keras.Input((8, 8, 1))
    inner = keras.Model(start, layers.Conv2D(2, 3)(start))
    x = inner(pixels) if what == "a model in it" else again(again(pixels))
    with pytest.raises(UserError, match="cannot be exported"):
        export.fold_batch_norm(keras.Model(pixels, layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("form", runtimes.SUFFIXES)
def test_every_export_of_the_cifar_network_answers_as_keras_does(form, cifar, tmp_path):
    model, reference = cifar
    images, labels, probabilities = reference.images, reference.labels, reference.probabilities
    assert 0.2 < probabilities.max(axis=1).mean() < 0.8, "answers that cannot tell a good export from a bad one"
    path = tmp_path / f"model{runtimes.SUFFIXES[form]}"
    export.convert(export.fold_batch_norm(model), form, path, images[:50])
    found = runtimes.predict(path, images, "images")
    if form == "int8":
        # Against how much the answers to two images differ; these answers of an untrained network are close ones.
        apart = np.abs(probabilities - np.roll(probabilities, 1, axis=0)).mean()
        assert np.abs(found - probabilities).mean() < 0.35 * apart and np.mean(found.argmax(axis=1) == labels) > 0.5
    else:
        assert np.abs(found - probabilities).max() <= (1e-2 if form == "float16" else export.LARGEST_DIFFERENCE)


def test_every_export_of_the_custom_cnn_passes_its_check(exported, digit_file):
    code, folder = exported
    assert code == 0
    written = (".h5", "_exports.json", "_test_probabilities.npz", *runtimes.SUFFIXES.values())
    names = {f"custom_cnn_model{suffix}" for suffix in written}
    assert {path.name for path in folder.iterdir()} == names


def test_exports_take_raw_pixels_in_any_batch_and_name_their_classes(exported, digit_file, digits):
    _, folder = exported
    expected = saved_model.predict(saved_model.load(digit_file), digits.x_test[:70])
    for suffix in (".onnx", "_float32.tflite", "_float16.tflite", "_int8.tflite"):
        opened = runtimes.open_model(folder / f"custom_cnn_model{suffix}")
        assert opened.image_shape == (28, 28, 1) and opened.about["class_names"] == list("0123456789")
        for n in (1, 70, 3):  # one, more than a part, and back
            found = opened.predict(digits.x_test[:n].astype("float32"))
            assert found.shape == (n, 10) and found.dtype == np.float32
            np.testing.assert_allclose(found, expected[:n], atol=0.15 if "int8" in suffix else 1e-2)


def test_class_names_are_where_other_programs_look_for_them(exported):
    import onnxruntime

    _, folder = exported
    session = onnxruntime.InferenceSession(folder / "custom_cnn_model.onnx", providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == list("0123456789")
    with zipfile.ZipFile(folder / "custom_cnn_model_int8.tflite") as archive:
        assert archive.read("labels.txt").decode().split() == list("0123456789")
    assert (folder / "custom_cnn_model_saved_model" / "assets.extra" / "labels.txt").read_text().split()[3] == "3"


def test_small_formats_are_small(exported):
    _, folder = exported
    size = {
        form: (folder / f"custom_cnn_model{runtimes.SUFFIXES[form]}").stat().st_size
        for form in ("float32", "float16", "int8")
    }
    assert size["int8"] < size["float16"] < size["float32"]


def test_an_export_that_answers_otherwise_is_reported_and_an_earlier_one_stays(cifar, tmp_path):
    model, reference = cifar
    path, about = tmp_path / "model.onnx", {"class_names": [str(k) for k in range(20)]}

    def exported(graph):
        return export.export(graph, "onnx", path, reference.images, about, reference, reference)

    wrong = export.fold_batch_norm(model)
    head = wrong.get_layer("logits")
    head.set_weights([head.get_weights()[0] * 1.01])
    check = exported(wrong)
    assert "differs" in check.failure and list(tmp_path.iterdir()) == []
    path.write_bytes(b"earlier")
    assert exported(wrong).failure
    assert path.read_bytes() == b"earlier" and list(tmp_path.iterdir()) == [path]
    right = exported(export.fold_batch_norm(model))
    assert right.failure is None and path.stat().st_size == pytest.approx(1e6 * right.megabytes) and right.megabytes > 5


def test_a_converter_that_gives_up_is_a_failed_export(cifar, tmp_path, monkeypatch):
    model, reference = cifar

    def give_up(*_):
        raise RuntimeError("no such operation\nand a long story")

    monkeypatch.setattr(export, "convert", give_up)
    path, about = tmp_path / "m_int8.tflite", {"class_names": []}
    check = export.export(model, "int8", path, reference.images, about, reference, reference)
    assert "no such operation" in check.failure and "long story" not in check.failure
    assert "FAILED" in export_model.line(check) and list(tmp_path.iterdir()) == []


GOOD = {"difference": 0.0, "agreement": 1.0, "validation_accuracy_before": 0.9, "validation_accuracy_after": 0.9}


@pytest.mark.parametrize(
    ("form", "measured", "passes"),
    [
        ("onnx", {"difference": 1e-4}, True),
        ("onnx", {"difference": 1.1e-4}, False),
        ("saved_model", {"difference": 1.1e-4}, False),
        ("float32", {"difference": None}, False),
        ("float16", {"difference": None}, False),
        ("float16", {"difference": 0.5}, True),
        ("float16", {"agreement": 0.949}, False),
        ("int8", {"difference": 0.7, "agreement": 0.95}, True),
        ("int8", {"agreement": 0.949}, False),
        ("int8", {"validation_accuracy_after": 0.89}, True),
        ("int8", {"validation_accuracy_after": 0.8899}, False),
        ("float16", {"validation_accuracy_after": 0.8899}, False),
        ("int8", {"validation_accuracy_after": 0.95}, True),
        ("int8", {"accuracy_before": 0.9, "accuracy_after": 0.1}, True),
    ],
)
def test_an_export_is_kept_by_the_validation_images_alone(form, measured, passes, tmp_path):
    check = export.Check(tmp_path / "model", **{**GOOD, **measured})
    assert (export.failure_of(form, check) is None) == passes


def test_what_was_measured_is_measured_on_its_own_images(cifar, tmp_path, monkeypatch):
    """An export whose answers are made up: right on half of the test images, wrong on one of 150 validation images."""
    _, reference = cifar
    found = reference.probabilities.copy()
    found[7] = np.roll(found[7], 1)
    test = export.Reference(reference.images[:10], reference.labels[:10], reference.probabilities[:10])
    half = np.concatenate([test.probabilities[:5], np.roll(test.probabilities[5:], 1, axis=1)])
    monkeypatch.setattr(export, "convert", lambda graph, form, path, calibration: path.write_bytes(b"made"))
    monkeypatch.setattr(export, "describe", lambda *_: None)
    monkeypatch.setattr(runtimes, "predict", lambda path, images, what: found if len(images) == 150 else half)
    path = tmp_path / "m_int8.tflite"
    check = export.export(None, "int8", path, None, {}, reference, test)
    assert check.failure is None and path.read_bytes() == b"made"
    assert check.validation_accuracy_before == 1 and check.validation_accuracy_after == pytest.approx(149 / 150)
    assert check.agreement == pytest.approx(149 / 150)
    assert check.difference == pytest.approx(np.abs(found[7] - reference.probabilities[7]).max())
    assert (check.accuracy_before, check.accuracy_after) == (1, 0.5)
    found[8] = np.nan
    assert export.export(None, "int8", path, None, {}, reference, test).failure


def test_a_failed_export_makes_the_exit_code_1_and_is_named(digit_file, tmp_path, monkeypatch, capsys):
    def predict(path, images, what):
        return np.full((len(images), 10), 0.1, np.float32)

    monkeypatch.setattr(runtimes, "predict", predict)
    code = export_model.main([str(digit_file), "--format", "onnx", "--output-dir", str(tmp_path)])
    said = capsys.readouterr()
    assert code == 1 and "custom_cnn_model.onnx" in said.err and "FAILED" in said.out and "differs" in said.out
    assert [path.name for path in tmp_path.iterdir()] == ["custom_cnn_model_exports.json"]


@pytest.mark.parametrize("validation", [None, 0.25])
def test_the_validation_images_are_those_that_the_training_held_out(
    validation, digit_file, digits, tmp_path, monkeypatch
):
    metadata, seen = saved_model.metadata(digit_file), []
    stored = {} if validation is None else {"validation": validation}
    saved_model.save(
        saved_model.load(digit_file), tmp_path / "model.h5", image_shape=(28, 28, 1), **{**metadata, **stored}
    )

    def exported(graph, form, path, calibration, about, validation, test, statistics):
        seen.append((calibration, validation, test))
        return export.Check(path, failure="not tried")

    monkeypatch.setattr(export, "export", exported)
    export_model.main([str(tmp_path / "model.h5"), "--format", "onnx"])
    ((calibration, held_out, test),) = seen
    expected = datasets.split(digits, validation or 0.1)
    np.testing.assert_array_equal(held_out.images, expected.x_validation)
    np.testing.assert_array_equal(held_out.labels, expected.y_validation)
    np.testing.assert_array_equal(test.images, digits.x_test)
    held_out_pixels = {image.tobytes() for image in expected.x_validation}
    assert not any(image.tobytes() in held_out_pixels for image in calibration)


def test_the_record_keeps_the_other_formats_of_the_same_model_and_no_other_models(tmp_path):
    path = tmp_path / "model_exports.json"
    right = export.Check(tmp_path / "model.onnx", 1.5, 0.8, 0.8, 1.0, 1e-6, 0.75, 0.75)
    nothing = export.Check(tmp_path / "model_int8.tflite", failure="cannot be converted or run: x")
    export_model.write(path, "int8", nothing, "source 1")
    export_model.write(path, "onnx", right, "source 1")
    record = json.loads(path.read_text())
    rows = record["exports"]
    assert record["schema"] == 1 and list(rows) == ["onnx", "int8"] and rows["onnx"]["accuracy_after"] == 0.75
    assert rows["int8"]["difference"] is None and rows["int8"]["failure"] == nothing.failure
    export_model.write(path, "onnx", right, "source 2")
    assert list(json.loads(path.read_text())["exports"]) == ["onnx"]


def test_int8_is_calibrated_on_training_images_of_the_whole_set(digits):
    chosen = export_model.calibration_images(digits.x_train, 30)
    assert len(chosen) == 30
    assert np.array_equal(chosen[0], digits.x_train[0]) and np.array_equal(chosen[-1], digits.x_train[-1])
    assert len(export_model.calibration_images(digits.x_train, 10**6)) == len(digits.x_train)


def test_a_missing_package_is_one_line_that_says_what_to_install(digit_file, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "tf2onnx" else object())
    with pytest.raises(UserError, match=r"tf2onnx.*\[export\]"):
        export_model.main([str(digit_file), "--format", "onnx"])


def test_only_saved_keras_models_are_taken(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(UserError, match=r"model.onnx is no .h5 file"):
        export_model.main([str(tmp_path / "model.onnx")])


def test_models_of_one_name_do_not_share_a_folder(tmp_path):
    with pytest.raises(UserError, match="overwrite"):
        export_model.main(["a/model.h5", "b/model.h5", "--output-dir", str(tmp_path)])


@pytest.mark.parametrize("damage", ["archive", "names", "number", "brackets"])
def test_damaged_metadata_of_an_export_are_bad_input(damage, digit_file, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="optional: pip install -e .[export]")
    path = tmp_path / "model.tflite"
    export.convert(export.fold_batch_norm(saved_model.load(digit_file)), "float32", path, None)
    names = {"names": list(range(10)), "number": ["0", "1"]}.get(damage, list("0123456789"))
    about = 10**5 * "[" if damage == "brackets" else json.dumps({"class_names": names})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{runtimes.ABOUT}.json", about)
    if damage == "archive":
        content = bytearray(path.read_bytes())
        content[content.rindex(b'"class_names"')] ^= 0xFF  # the archive's own checksum tells
        path.write_bytes(content)
    with pytest.raises(UserError, match="metadata that are damaged"):
        runtimes.open_model(path)
