"""What the tests of answers and of the page share: a folder of models, good pictures and bad ones."""

import io
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from pipeline.backend import keras
from pipeline.data import pictures
from pipeline.models import saved_model

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FIRST, SECOND, FOREIGN, TEXT, GONE = "Digits", "Words", "Tempting", "text.h5, not a model of this project", "Vanishing"


def train(digits) -> keras.Model:
    """A small network that reads the embedded digits, moved a little, well enough for a drawn 7."""
    keras.utils.set_random_seed(0)
    layers, pixels = keras.layers, keras.Input((28, 28, 1))
    x = layers.Rescaling(1 / 255)(pixels)
    x = layers.Conv2D(12, 5, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2D(24, 3, strides=2, padding="same", activation="relu")(x)
    model = keras.Model(pixels, layers.Softmax()(layers.Dense(10)(layers.Flatten()(x))), name="small")
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy", jit_compile=False)
    moves = ((0, 0), (2, 0), (-2, 0), (0, 2), (0, -2))
    images = np.concatenate([np.roll(digits.x_train, move, (1, 2)) for move in moves]).astype(np.float32)
    model.fit(images, np.tile(digits.y_train, len(moves)), batch_size=64, epochs=3, verbose=0)
    return model


def fill(folder: Path, digits) -> Path:
    """A folder as output/: two good models, one that would run code, a text; one vanishes later."""
    (folder / "demo").mkdir()
    model = train(digits)
    for path, title, names in (
        (folder / "first.h5", FIRST, list("0123456789")),
        (folder / "demo" / "second.h5", SECOND, WORDS),
        (folder / "demo" / "vanishing.h5", GONE, WORDS),
    ):
        about = {"title": title, "dataset": "digits", "class_names": names, "prefix": "custom_cnn"}
        saved_model.save(model, path, image_shape=(28, 28, 1), **about)
    pixels = keras.Input((28, 28, 1))
    scores = keras.layers.Dense(10)(keras.layers.Flatten()(keras.layers.Lambda(lambda x: x * 2)(pixels)))
    keras.Model(pixels, keras.layers.Softmax()(scores)).save(folder / "demo" / "tempting.h5")
    with h5py.File(folder / "demo" / "tempting.h5", "a") as file, h5py.File(folder / "first.h5") as good:
        file.attrs["pipeline"] = good.attrs["pipeline"].replace(FIRST, FOREIGN)
    (folder / "demo" / "text.h5").write_text("no model")
    Image.new("RGB", (300, 200), "navy").save(folder / "custom_cnn_confusion_matrix.png")
    return folder


def twenty_digits(folder: Path, digits) -> list[Path]:
    """Twenty test digits as PNG files."""
    paths = [folder / f"{k}.png" for k in range(20)]
    for path, image in zip(paths, digits.x_test, strict=False):
        Image.fromarray(image[..., 0]).save(path)
    return paths


def bad_files(folder: Path) -> dict[str, Path]:
    """Name to file: what people upload by accident or on purpose."""
    (folder / "text.png").write_text("this is a text")
    Image.new("1", (9000, 9000)).save(folder / "enormous.png")
    Image.new("L", (60, 60), 200).save(folder / "blank.png")
    Image.effect_noise((90, 90), 80).save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:900])
    bomb = io.BytesIO()
    Image.new("1", (8, 8)).save(bomb, "BMP")
    header = bytearray(bomb.getvalue())
    header[18:26] = (60000).to_bytes(4, "little") * 2
    (folder / "bomb.png").write_bytes(header)
    (folder / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\nshowpage\n")
    return {path.name: path for path in folder.iterdir()}


def expected(folder: Path, path: Path) -> np.ndarray:
    """Probabilities (10,) of the digit in a picture, without ui."""
    pixels, _ = pictures.read_digit(path)
    return saved_model.predict(saved_model.load(folder / "first.h5"), pixels[None])[0]
