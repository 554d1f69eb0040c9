"""A folder of one's own pictures through every training script, and its models through the scripts after it."""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

import cifar100_cnn
import error_analysis
import gradcam
import mnist_classification
import resnet50_transfer_learning
from pipeline.config import parse
from pipeline.models import saved_model
from pipeline.train import identity

tf = pytest.importorskip("tensorflow")

# tests/scripts/test_scripts.py has all of ResNet50.
pytestmark = pytest.mark.usefixtures("eagerly", "one_block_a_stage")
CLASSES = ("bar", "disc", "triangle")


def shape(name, rng):
    """A colored shape of 48x40 pixels, somewhere on another color."""
    ground, ink = rng.integers(0, 256, (2, 3))
    image = Image.new("RGB", (48, 40), tuple(map(int, ground)))
    draw, (x, y) = ImageDraw.Draw(image), rng.integers(4, 12, 2)
    ink = tuple(map(int, ink))
    if name == "disc":
        draw.ellipse((x, y, x + 20, y + 20), fill=ink)
    elif name == "bar":
        draw.rectangle((x, y, x + 28, y + 6), fill=ink)
    else:
        draw.polygon([(x, y + 20), (x + 22, y + 20), (x + 11, y)], fill=ink)
    return image


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("own") / "shapes", np.random.default_rng(0)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for k in range(20):
            shape(name, rng).save(folder / name / f"{k}.{('png', 'jpg')[k % 2]}")
    (folder / "disc" / "notes.txt").write_text("stray")
    (folder / "bar" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "readme.txt").write_text("stray")
    return folder


SCRIPTS = {
    "cifar100": (cifar100_cnn, ["--image-size", "40"], (40, 40, 3)),
    "custom_cnn": (mnist_classification, ["--filters", "4"], (28, 28, 1)),
    "resnet50": (resnet50_transfer_learning, ["--weights", "none", "--image-size", "40"], (40, 40, 3)),
}


@pytest.mark.parametrize("prefix", SCRIPTS)
def test_every_training_script_takes_a_folder_and_later_scripts_its_model(
    prefix, shapes, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(shapes.parent / "cache"))
    monkeypatch.chdir(tmp_path)
    script, flags, image_shape = SCRIPTS[prefix]
    flags = ["--dataset", str(shapes), "--dry-run", "--class-weights", "balanced", "--precision", "float32", *flags]
    assert script.main([*flags, "--output-dir", "out"]) == 0
    said = capsys.readouterr()
    assert "2 files cannot be read" in said.err and f"reading {shapes}" in said.out

    text = (tmp_path / "out" / f"{prefix}_metrics.json").read_text()
    metrics = json.loads(text)
    assert metrics["class_names"] == list(CLASSES) and np.shape(metrics["confusion_matrix"]) == (3, 3)
    assert metrics["dataset"] == metrics["config"]["dataset"] == "shapes" and str(shapes.parent) not in text
    assert (metrics["n_train"] + metrics["n_validation"], metrics["n_test"]) == (48, 12)
    assert metrics["data_notes"]["skipped_files"] == 2 and metrics["image_shape"] == list(image_shape)

    (model,) = (path for path in (tmp_path / "out").glob("*.h5") if not path.name.startswith("best_"))
    saved = saved_model.open_model(model)
    assert saved.model.input_shape == (None, *image_shape) and saved.model.output_shape == (None, 3)
    places = ["--output-dir", "out", "--data-dir", str(shapes.parent)]
    assert error_analysis.main(places) == 0
    tf.config.run_functions_eagerly(False)  # gradients need graphs
    assert gradcam.main(places) == 0
    assert (tmp_path / "out" / f"{prefix}_errors.json").is_file()
    assert (tmp_path / "out" / f"{prefix}_gradcam.png").is_file()


@pytest.mark.parametrize("prefix", SCRIPTS)
def test_every_training_script_starts_from_a_saved_model_whose_shape_the_pictures_take(
    prefix, shapes, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(shapes.parent / "cache"))
    script, flags, image_shape = SCRIPTS[prefix]
    config, start = parse(script.Config, flags), tmp_path / "start.h5"
    model = script.build_model(config, classes=2, **({} if prefix == "custom_cnn" else {"shape": image_shape}))
    about = {"prefix": prefix, "dataset": "other", "class_names": ["no", "yes"], "title": "Other"}
    saved_model.save(model, start, image_shape=image_shape, **about)
    flags = ["--dataset", str(shapes), "--dry-run", "--precision", "float32", "--start-from", str(start)]
    assert script.main([*flags, "--output-dir", str(tmp_path / "out")]) == 0
    metrics = json.loads((tmp_path / "out" / f"{prefix}_metrics.json").read_text())
    assert metrics["image_shape"] == list(image_shape) and metrics["class_names"] == list(CLASSES)
    assert metrics["started_from"] == {"file": "start.h5", "title": "Other", "head": "new"}
    assert "head new" in capsys.readouterr().out


def test_own_data_have_an_output_folder_of_their_own(shapes):
    config = parse(cifar100_cnn.Config, ["--dataset", str(shapes), "--image-size", "64"])
    assert identity.output_folder(config, "cifar100").name == "cifar100-shapes-fast-image_size=64-seed0"
    config = parse(mnist_classification.Config, ["--dataset", "fashion-mnist"])
    assert identity.output_folder(config, "custom_cnn").name == "custom_cnn-fashion-mnist-default-seed0"
