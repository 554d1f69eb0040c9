"""The benchmarks that start processes of their own: what one such process measures, on toy data."""

import tempfile

import pytest

import cifar100_cnn
from benchmarks import answering, input_pipeline, peers, start_up
from pipeline import atomic_io
from pipeline.backend import keras
from pipeline.errors import UserError
from pipeline.system import measured_in_another


def test_input_alone_delivers_every_batch_at_the_recipe_s_sizes():
    for side in input_pipeline.SIDES:
        config = input_pipeline.Config(dataset="synthetic", side=side)
        images, labels = input_pipeline.batches(config, 2)[1]
        assert images.shape == (512, side, side, 3) and len(labels) == 512
    assert input_pipeline.input_rate(config)["images_per_second"] > 0


def test_images_from_the_disk_come_with_their_labels(tmp_path):
    config = input_pipeline.Config(dataset="synthetic", disk_images=20_000, pixels=str(tmp_path / "images.pixels"))
    input_pipeline.write_pixels(config, tmp_path / "images.pixels")
    batches = input_pipeline.batches(config, 2)
    known = input_pipeline.training_images(config)
    label_of = {image.tobytes(): label for image, label in zip(known.x_train, known.y_train, strict=True)}
    assert [label_of[image.tobytes()] for image in batches.images] == batches.labels.tolist()


def test_a_script_s_start_is_timed_to_its_first_step_and_leaves_no_folder(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # Python would compile what TensorFlow writes there
    monkeypatch.setattr(start_up, "SCRIPTS", {"mnist_classification": "digits"})
    assert start_up.main(["--toy", "--rounds", "1", "--output-dir", str(tmp_path)]) == 0
    assert atomic_io.read_json(tmp_path / "benchmark_start_up.json")["medians"]["mnist_classification"] > 0
    assert not [path for path in (tmp_path / "temporary").iterdir() if path.is_dir()], "TensorFlow leaves a file"


def test_a_peer_is_timed_by_its_steps():
    flags = ["--setup", "Keras on TensorFlow", "--steps", "2"]
    found = measured_in_another("peer", peers.__file__, flags, {"KERAS_BACKEND": "tensorflow"})
    assert found["seconds"] > 0
    assert found["parameters"] == cifar100_cnn.build_fast(peers.CLASSES).count_params()


def test_answering_is_not_timed_without_a_current_export(tmp_path, monkeypatch):
    (tmp_path / "model.h5").write_bytes(b"a model")
    monkeypatch.setattr(answering, "MODELS", (tmp_path / "model.h5",))
    with pytest.raises(UserError, match=r"model\.h5 has no current ONNX export"):
        answering.main([])


def test_a_missing_peer_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda package: None)
    with pytest.raises(UserError, match="pip install"):
        peers.main([])


def test_pytorch_s_network_is_the_same():
    torch = pytest.importorskip("torch")
    network = peers.pytorch_network()
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, peers.CLASSES)
    trained = sum(parameter.numel() for parameter in network.parameters())
    weights = cifar100_cnn.build_fast(peers.CLASSES).trainable_variables
    scales = 2 * sum((64, 192, 512)) + sum((64, 160, 320))  # PyTorch's BatchNorm has them, the recipe's has none
    assert trained - scales == sum(keras.ops.size(weight) for weight in weights)
