"""import_model.py: a model that was trained elsewhere, adopted, and then taken by every script after it."""

import json

import h5py
import numpy as np
import pytest
from PIL import Image

import error_analysis
import export_model
import gradcam
import import_model
import model_comparison
import predict
from pipeline.backend import keras, layers
from pipeline.deploy import latency
from pipeline.errors import UserError, exit_code
from pipeline.models import saved_model


@pytest.fixture(scope="module")
def theirs(digits, tmp_path_factory):
    """Trained on pixels in [-1, 1], a model in a Sequential, logits at its end, saved as both kinds of file."""
    keras.utils.set_random_seed(0)
    inner_input = keras.Input((28, 28, 1))
    x = layers.Conv2D(8, 5, strides=2, padding="same", activation="relu", name="conv")(inner_input)
    inner = keras.Model(inner_input, layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(x))
    model = keras.Sequential([keras.Input((28, 28, 1)), inner, layers.Dropout(0.2), layers.Flatten(), layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.003), loss, jit_compile=False)
    model.fit(digits.x_train / np.float32(127.5) - 1, digits.y_train, batch_size=32, epochs=3, verbose=0)
    folder = tmp_path_factory.mktemp("theirs")
    model.save(folder / "their model.h5")
    model.save(folder / "theirs.keras")
    return folder


def test_an_adopted_model_is_taken_by_every_script(theirs, digits, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(latency, "CALLS", {1: 1, 32: 1, 256: 1})
    source = theirs / "their model.h5"
    assert import_model.main([str(source), "--dataset", "digits"]) == 0
    said = capsys.readouterr()
    path = tmp_path / "output" / "demo" / "their_model.h5"
    record = json.loads(path.with_name("their_model_metrics.json").read_text())
    assert "pixels -1..1" in said.out and record["pixels"] == "-1..1" and record["test_accuracy"] > 0.8
    assert record["source"]["file"] == "their model.h5" and str(theirs) not in json.dumps(record)
    for name in ("classification_report.csv", "confusion_matrix.png", "examples.png"):
        assert path.with_name(f"their_model_{name}").is_file()

    saved = saved_model.open_model(path)
    original = keras.models.load_model(source, compile=False)
    expected = keras.ops.softmax(original(digits.x_test / np.float32(127.5) - 1, training=False))
    np.testing.assert_allclose(saved_model.predict(saved.model, digits.x_test), expected, atol=1e-4)
    assert not any(isinstance(layer, keras.Model) for layer in saved.model.layers)

    Image.fromarray(digits.x_test[0, ..., 0]).save("digit.png")
    assert gradcam.main([str(path)]) == 0 and path.with_name("their_model_gradcam.png").is_file()
    assert error_analysis.main([str(path)]) == 0 and path.with_name("their_model_errors.json").is_file()
    assert export_model.main([str(path), "--format", "onnx"]) == 0
    assert model_comparison.main([str(path), "--rounds", "1", "--threads", "1"]) == 0
    capsys.readouterr()
    for file in (path, path.with_suffix(".onnx")):
        assert predict.main([str(file), "digit.png", "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)["images"][0]["predictions"][0]["class"]
        assert answer == str(expected.numpy()[0].argmax())


def test_a_keras_archive_with_named_pixels_is_adopted_under_another_name(theirs, digits, tmp_path):
    flags = ["--dataset", "digits", "--pixels", "-1..1", "--name", "mine", "--output-dir", str(tmp_path)]
    assert import_model.main([str(theirs / "theirs.keras"), *flags]) == 0
    about = saved_model.metadata(tmp_path / "mine.h5")
    assert (about["prefix"], about["digits"], about["data_sha256"]) == ("mine", True, digits.sha256)
    assert import_model.main([str(theirs / "theirs.keras"), *flags]) == 0, "the same model may be adopted again"
    with pytest.raises(UserError, match="of another model"):
        import_model.main([str(theirs / "their model.h5"), *flags])


def test_wrong_pixels_are_measured_and_said(theirs, tmp_path, digits, capsys):
    model = keras.models.load_model(theirs / "theirs.keras", compile=False)
    model.layers[-1].set_weights([np.zeros((784, 10)), np.eye(10)[3]])
    model.save(tmp_path / "constant.keras")
    flags = [str(tmp_path / "constant.keras"), "--dataset", "digits", "--output-dir", str(tmp_path / "out")]
    with pytest.raises(UserError, match="no better than chance with any pixel scaling"):
        import_model.main(flags)
    assert not (tmp_path / "out").exists()
    assert import_model.main([*flags, "--pixels", "0..255"]) == 0
    assert "no better than chance" in capsys.readouterr().err


def test_scalings_that_cannot_be_told_apart_are_said(tmp_path, digits, capsys):
    # Each image scaled to its own mean and deviation: no scaling before it makes a difference.
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((28, 28)), layers.Flatten(), layers.LayerNormalization(), layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
    model.fit(digits.x_train[..., 0] / np.float32(255), digits.y_train, batch_size=32, epochs=2, verbose=0)
    model.save(tmp_path / "normalized.keras")
    flags = ["--dataset", "digits", "--output-dir", str(tmp_path)]
    assert import_model.main([str(tmp_path / "normalized.keras"), *flags]) == 0
    assert "cannot be told apart" in capsys.readouterr().err


def lambda_layer(path):
    keras.Sequential([keras.Input((28, 28, 1)), layers.Lambda(lambda x: x * 2), layers.Flatten()]).save(path)


def custom_class(path):
    keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(10)]).save(path)
    with h5py.File(path, "a") as file:
        config = file.attrs["model_config"].replace('"Dense"', '"Evil"')
        del file.attrs["model_config"]
        file.attrs["model_config"] = config


def nine_classes(path):
    keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(9)]).save(path)


def four_channels(path):
    keras.Sequential([keras.Input((28, 28, 4)), layers.Flatten(), layers.Dense(10)]).save(path)


def a_text(path):
    path.write_text("no model")


BAD = [
    (lambda_layer, "Lambda"),
    (custom_class, "Evil"),
    (nine_classes, "9 classes"),
    (four_channels, "an image classifier takes"),
    (a_text, "damaged"),
]


@pytest.mark.parametrize(("make", "says"), BAD)
def test_what_cannot_be_adopted_is_one_line_and_exit_code_2(make, says, tmp_path, capsys):
    path = tmp_path / "theirs.h5"
    make(path)
    capsys.readouterr()
    flags = [str(path), "--dataset", "digits", "--output-dir", str(tmp_path / "out")]
    assert exit_code(lambda: import_model.main(flags)) == 2
    said = capsys.readouterr().err
    assert says in said and said.startswith("error: ") and len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["model.h5"], "--dataset"),
        (["model.pb", "--dataset", "digits"], r"no \.h5 or \.keras"),
        (["nowhere.h5", "--dataset", "digits"], "does not exist"),
        (["model.h5", "--dataset", "digits", "--name", "a/b"], "--name a/b"),
    ],
)
def test_bad_flags_are_named(flags, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=says):
        import_model.main(flags)


def test_images_of_another_size_and_color_are_converted_and_that_is_said(synthetic, tmp_path, capsys):
    model = keras.Sequential([keras.Input((20, 20, 1)), layers.Flatten(), layers.Dense(len(synthetic.class_names))])
    model.save(tmp_path / "gray.keras")
    flags = ["--dataset", "synthetic", "--pixels", "0..1", "--output-dir", str(tmp_path)]
    assert import_model.main([str(tmp_path / "gray.keras"), *flags]) == 0
    assert "32x32 pixels in color" in capsys.readouterr().err
    assert saved_model.open_model(tmp_path / "gray.h5").model.input_shape == (None, 20, 20, 1)
