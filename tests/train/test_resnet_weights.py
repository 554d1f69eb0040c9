"""Pretrained weights layer by layer, and what the two phases of transfer learning leave alone."""

import dataclasses
import hashlib
import re
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import KERNEL, STEM, batch_norm, write_weights
from keras.src.applications import resnet as keras_resnet

import resnet50_transfer_learning as resnet
from pipeline import atomic_io
from pipeline.backend import keras
from pipeline.config import parse
from pipeline.data import datasets
from pipeline.errors import UserError
from pipeline.models import saved_model
from pipeline.train import fine_tuning, loop, resnet_weights
from pipeline.train.run import Run

layers = keras.layers


def small():
    """Named like the start of ResNet50, small enough to be built for every test."""
    pixels = keras.Input((8, 8, 3))
    x = layers.Conv2D(64, 7, padding="same", name="conv1_conv")(pixels)
    x = layers.ReLU()(layers.BatchNormalization(name="conv1_bn")(x))
    x = layers.BatchNormalization(name="conv2_bn")(layers.Conv2D(6, 3, name="conv2_conv")(x))
    x = layers.BatchNormalization(name="conv3_bn")(layers.Conv2D(5, 3, name="conv3_conv")(layers.ReLU()(x)))
    return keras.Model(pixels, layers.Dense(2, name="logits")(layers.Flatten()(x)), name="small")


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A whole file in Keras' cache, as far as its hash is concerned, and a server that does not answer."""
    path = write_weights(tmp_path / "models" / resnet_weights.CACHED, STEM)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(resnet_weights, "ORIGIN", f"http://127.0.0.1:9/{resnet_weights.CACHED}")
    monkeypatch.setattr(resnet_weights, "MD5", hashlib.md5(path.read_bytes()).hexdigest())
    return path


def test_imagenet_weights_are_kerass_own():
    assert keras_resnet.BASE_WEIGHTS_PATH + resnet_weights.CACHED == resnet_weights.ORIGIN
    assert keras_resnet.WEIGHTS_HASHES["resnet50"][1] == resnet_weights.MD5


def test_imagenet_weights_in_kerass_cache_need_no_network_and_a_missing_file_is_bad_input(cached):
    assert resnet_weights.find("imagenet") == cached
    cached.unlink()
    with pytest.raises(UserError, match=r"the download failed \(Connection refused\)") as refused:
        resnet_weights.find("imagenet")
    assert resnet_weights.CACHED in str(refused.value) and "--weights none" in str(refused.value)


def test_half_a_download_or_a_file_of_some_stages_does_not_pass_as_imagenet_weights(cached):
    for content in (cached.read_bytes()[:-100], b"conv1 to conv4"):
        cached.write_bytes(content)
        with pytest.raises(UserError, match="incomplete or another file") as refused:
            resnet_weights.find("imagenet")
        assert str(cached) in str(refused.value) and "--weights FILE" in str(refused.value)
        assert cached.read_bytes() == content, "it may be the user's own"


@pytest.mark.parametrize(
    ("weights", "said"), [("imagenet", "ImageNet weights"), ("none", "random initialization"), ("a/stem.h5", "stem")]
)
def test_a_run_says_which_weights_it_starts_from(monkeypatch, weights, said):
    class Started(Exception):
        pass

    def run(prefix, model_file, model_name, *rest):
        raise Started(model_name)

    monkeypatch.setattr(resnet_weights, "find", Path)
    monkeypatch.setattr(resnet_weights, "fingerprint", lambda path: {})
    monkeypatch.setattr("pipeline.train.run.Run", run)
    with pytest.raises(Started, match=said):
        resnet.main(["--dataset", "digits", "--weights", weights])


def test_none_and_a_file_of_ones_own_are_found_and_a_missing_one_is_bad_input(tmp_path):
    assert resnet_weights.find("none") is None
    path = write_weights(tmp_path / "some.h5", STEM)
    assert resnet_weights.find(str(path)) == path
    with pytest.raises(UserError, match=r"other\.h5"):
        resnet_weights.find(str(tmp_path / "other.h5"))
    with pytest.raises(UserError):
        resnet_weights.find(str(tmp_path))


def test_a_fingerprint_is_of_the_files_content(tmp_path):
    one, other = write_weights(tmp_path / "a.h5", STEM), write_weights(tmp_path / "b.h5", {"x": batch_norm(2)})
    assert set(resnet_weights.fingerprint(one)) == {"a.h5"} and resnet_weights.fingerprint(None) == {}
    assert resnet_weights.fingerprint(one)["a.h5"] != resnet_weights.fingerprint(other)["b.h5"]


def test_a_file_fills_exactly_its_layers_of_resnet50_and_says_which(tmp_path):
    model = resnet.build_model(resnet.Config())
    before = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    loaded = resnet_weights.load_weights(model, write_weights(tmp_path / "stem.h5", STEM))
    assert loaded["file"] == "stem.h5" and loaded["loaded"] == ["conv1_conv", "conv1_bn"]
    assert set(loaded["fresh"]) == set(before) - set(STEM)
    for name, weights in before.items():
        expected = STEM[name].values() if name in STEM else weights
        for value, wanted in zip(model.get_layer(name).get_weights(), expected, strict=True):
            np.testing.assert_array_equal(value, np.asarray(wanted, np.float32))
    said = resnet_weights.summary(loaded)
    assert all(word in said for word in ("2 layers", "stem.h5", "conv1_conv", "conv1_bn", "logits"))
    assert f"{len(before) - 2} start fresh" in said


def test_a_compressed_file_loads_like_any_other_up_to_a_size(tmp_path):
    """Weights files are often passed on packed, as the one of ResNet50's first stages is."""
    packed, model = write_weights(tmp_path / "packed.h5", STEM, compression="gzip"), small()
    assert resnet_weights.load_weights(model, packed)["loaded"] == ["conv1_conv", "conv1_bn"]
    np.testing.assert_array_equal(model.get_layer("conv1_conv").get_weights()[0], KERNEL.astype(np.float32))
    with h5py.File(packed, "a") as file:
        file.create_dataset("zeros", (1 << 29,), "f4", chunks=(1 << 20,), compression="gzip")
    with pytest.raises(UserError, match="more numbers than a model of small images has"):
        resnet_weights.load_weights(model, packed)


def test_without_a_file_every_layer_is_fresh():
    loaded = resnet_weights.load_weights(small(), None)
    assert loaded["loaded"] == [] and loaded["file"] == "none"
    assert len(loaded["fresh"]) == 7 and "fresh" in resnet_weights.summary(loaded)


def test_a_model_saved_by_this_project_can_serve_as_weights(tmp_path):
    model, other = small(), small()
    saved_model.save(model, tmp_path / "saved.h5", image_shape=(8, 8, 3))
    loaded = resnet_weights.load_weights(other, tmp_path / "saved.h5")
    for value, wanted in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, wanted)
    assert len(loaded["loaded"]) == 7 and loaded["fresh"] == []
    assert "7 layers from saved.h5" in resnet_weights.summary(loaded)


def name_until_2018(layer):
    """A layer's name in the files of keras-applications before 1.0.7."""
    if layer.startswith("conv1_"):
        return "conv1" if layer == "conv1_conv" else "bn_conv1"
    stage, block, place, kind = re.fullmatch(r"conv(\d)_block(\d)_(\d)_(conv|bn)", layer).groups()
    branch = ("1", "2a", "2b", "2c")[int(place)]
    return f"{'res' if kind == 'conv' else 'bn'}{stage}{'abcdef'[int(block) - 1]}_branch{branch}"


def write_as_in_2016(model, path):
    """A notop file with the layers' and the arrays' names of 2016: no slashes, running_std for the variance."""
    with h5py.File(path, "w") as file:
        names = []
        for layer in model.layers:
            if layer.weights:
                name = name_until_2018(layer.name)
                kinds = ("W", "b") if len(layer.weights) == 2 else ("gamma", "beta", "running_mean", "running_std")
                group, own = file.create_group(name), [f"{name}_{kind}:0" for kind in kinds]
                group.attrs["weight_names"] = [weight.encode() for weight in own]
                for weight, array in zip(own, layer.get_weights(), strict=True):
                    group.create_dataset(weight, data=array)
                names.append(name.encode())
        file.attrs["layer_names"] = names


def without_names(model, path):
    """As the first versions of Keras 3 wrote it."""
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        file.visititems(lambda _, node: node.attrs.pop("name", None))


def nested(model):
    pooled = layers.GlobalAveragePooling2D()(model.output) if len(model.output.shape) == 4 else model.output
    return keras.Sequential([keras.Model(model.input, pooled, name="resnet50"), layers.Dense(3, name="mine")])


FORMS = {
    "2016.h5": write_as_in_2016,
    "keras3.weights.h5": lambda model, path: model.save_weights(path),
    "nameless.weights.h5": without_names,
    "nested.weights.h5": lambda model, path: nested(model).save_weights(path),
    "whole.h5": lambda model, path: model.save(path),
    "nested.h5": lambda model, path: nested(model).save(path),
    "nested.keras": lambda model, path: nested(model).save(path),
}


@pytest.fixture(scope="module")
def backbone():
    """ResNet50 without its head as Keras makes it, with other BatchNorm values than the initial ones."""
    model = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(32, 32, 3))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    return model


@pytest.mark.parametrize("name", FORMS)
def test_every_form_in_which_people_have_resnet50s_weights_is_taken(name, backbone, tmp_path):
    FORMS[name](backbone, tmp_path / name)
    model = resnet.build_model(resnet.Config())
    loaded = resnet_weights.load_weights(model, tmp_path / name)
    assert loaded["file"] == name and loaded["fresh"] == ["logits"]
    for layer in (layer for layer in backbone.layers if layer.weights):
        for value, wanted in zip(model.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True):
            np.testing.assert_array_equal(value, wanted)


def test_the_head_of_a_saved_model_for_other_classes_is_left_out(tmp_path):
    model, other = small(), small()
    keras.Model(other.input, layers.Dense(5, name="logits")(other.layers[-2].output)).save(tmp_path / "five.h5")
    loaded = resnet_weights.load_weights(model, tmp_path / "five.h5")
    assert loaded["fresh"] == ["logits"] and len(loaded["loaded"]) == 6


def other_network(name):
    if name == "resnet101":
        return keras.applications.ResNet101(include_top=False, weights=None, input_shape=(32, 32, 3))
    if name == "resnet50v2":
        return keras.applications.ResNet50V2(include_top=False, weights=None, input_shape=(32, 32, 3))
    return keras.applications.MobileNet(include_top=False, weights=None, input_shape=(32, 32, 3))


@pytest.mark.parametrize("network", ["resnet101", "resnet50v2", "mobilenet"])
def test_a_sound_file_of_another_network_is_said_to_be_that(network, tmp_path):
    """ResNet101 has all of ResNet50's layers, of the same shapes, and more."""
    path = tmp_path / "other.weights.h5"
    other_network(network).save_weights(path)
    with pytest.raises(UserError, match="of another network") as refused:
        resnet_weights.load_weights(resnet.build_model(resnet.Config()), path)
    assert "damaged" not in str(refused.value)


def test_an_archive_that_is_no_keras_file_is_bad_input(tmp_path):
    """PyTorch's .pth files are archives, too."""
    with zipfile.ZipFile(tmp_path / "resnet50.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    with pytest.raises(UserError, match=r"resnet50\.pth is no \.keras file"):
        resnet_weights.load_weights(small(), tmp_path / "resnet50.pth")


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        ({**STEM, "conv1_conv": {"kernel": np.zeros((7, 7, 1, 64)), "bias": np.zeros(64)}}, "conv1_conv"),
        ({**STEM, "conv1_bn": {"gamma": np.zeros(64)}}, "conv1_bn"),
        ({"block1_conv1": {"kernel": np.zeros((3, 3, 3, 64))}}, "small"),
        ({}, "small"),
    ],
    ids=["wrong shape", "too few weights", "no common layer", "no layers"],
)
def test_weights_of_another_network_are_bad_input_and_load_nothing(tmp_path, weights, named):
    model = small()
    before = model.get_weights()
    with pytest.raises(UserError, match=named):
        resnet_weights.load_weights(model, write_weights(tmp_path / "odd.h5", weights))
    for value, wanted in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, wanted)


@pytest.mark.parametrize("content", [b"no HDF5", b""])
def test_a_weights_file_that_is_no_hdf5_is_bad_input(tmp_path, content):
    (tmp_path / "odd.h5").write_bytes(content)
    with pytest.raises(UserError, match=r"odd\.h5"):
        resnet_weights.load_weights(small(), tmp_path / "odd.h5")


def test_an_hdf5_file_without_layer_names_is_bad_input(tmp_path):
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file["conv1_conv"] = [1.0]
    with pytest.raises(UserError, match=r"odd\.h5"):
        resnet_weights.load_weights(small(), tmp_path / "odd.h5")


def test_calibrating_gives_fresh_batch_norms_the_statistics_of_their_inputs_and_leaves_loaded_ones():
    model = small()
    loaded = model.get_layer("conv1_bn")
    loaded.set_weights(list(batch_norm(64).values()))
    others = [layer for layer in model.layers if not isinstance(layer, layers.BatchNormalization)]
    before = [weight for layer in others for weight in layer.get_weights()]
    images = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), dtype=np.uint8)
    resnet_weights.calibrate(model, images, ["conv2_bn", "conv3_bn", "logits"])
    for name in ("conv2_bn", "conv3_bn"):
        out = np.asarray(keras.Model(model.input, model.get_layer(name).output)(images.astype(np.float32)))
        np.testing.assert_allclose(out.mean(axis=(0, 1, 2)), 0, atol=0.02)
        np.testing.assert_allclose(out.var(axis=(0, 1, 2)), 1, atol=0.05)
        assert model.get_layer(name).momentum == layers.BatchNormalization().momentum
    for value in loaded.get_weights():
        np.testing.assert_array_equal(value, np.full(64, 0.5, np.float32))
    for value, wanted in zip((w for layer in others for w in layer.get_weights()), before, strict=True):
        np.testing.assert_array_equal(value, wanted)


@pytest.mark.usefixtures("one_block_a_stage")
def test_each_phase_moves_its_own_layers_and_the_last_one_batch_norm_too(tmp_path, monkeypatch, eagerly):
    # The weights are not loaded here: which layers a phase moves does not depend on them.
    flags = "--dataset digits --weights imagenet --limit 64 --batch-size 64 --head-epochs 1 --epochs 2 --upper-epochs 1"
    flags += " --precision float32"
    config = parse(resnet.Config, [*flags.split(), "--output-dir", str(tmp_path)])
    run = Run("resnet50", "resnet50_model.h5", "ResNet50", config, datasets.prepare(config))
    model = resnet.build_model(config)

    def weights():
        return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}

    def moved(before, after):
        changed = [any((a != b).any() for a, b in zip(before[n], after[n], strict=True)) for n in before]
        return {name for name, changes in zip(before, changed, strict=True) if changes}

    start = weights()
    fine_tuning.train_head(run, model, run.dataset, config.head_epochs, config.head_learning_rate)
    middle = weights()
    assert moved(start, middle) == {"logits"}
    norms = {layer.name for layer in model.layers if isinstance(layer, layers.BatchNormalization)}
    early = {name for name in start if name.startswith(("conv1", "conv2", "conv3"))}
    seen, fit = [middle], loop.fit

    def watched(*args, **kwargs):
        rows = fit(*args, **kwargs)
        seen.append(weights())
        return rows

    monkeypatch.setattr(loop, "fit", watched)
    resnet.fine_tune(run, model, run.dataset)
    assert [row["phase"] for row in run.history] == ["head", "conv4, conv5", "all stages"] and len(norms) == 17
    assert moved(middle, seen[1]) == set(start) - norms - early
    assert moved(seen[1], seen[2]) == set(start)

    run.config, before = dataclasses.replace(config, fresh_stages=False, epochs=1), weights()
    resnet.fine_tune(run, model, run.dataset)
    assert run.history[-1]["phase"] == "conv4, conv5" and len(run.history) == 4
    assert moved(before, weights()) == set(start) - norms - early


def test_for_photos_the_network_ends_at_the_last_pretrained_stage_and_all_of_it_learns(tmp_path, eagerly):
    file = write_weights(tmp_path / "stem.h5", STEM)
    flags = ["--recipe", "photos", "--weights", str(file), "--image-size", "32", "--dry-run", "--precision", "float32"]
    assert resnet.main(["--dataset", "digits", *flags, "--output-dir", str(tmp_path)]) == 0
    metrics = atomic_io.read_json(tmp_path / "resnet50_metrics.json")
    assert metrics["weights"]["loaded"] == list(STEM) and metrics["weights"]["fresh"] == ["logits"]
    model = saved_model.load(tmp_path / "resnet50_model.h5")
    assert {layer.name for layer in model.layers if layer.weights} == {*STEM, "logits"}
    (kernel, _), (gamma, *_) = (model.get_layer(name).get_weights() for name in STEM)
    assert (kernel != KERNEL.astype(np.float32)).any() and (gamma == 0.5).all()


@pytest.mark.usefixtures("one_block_a_stage")
def test_recipe_photos_without_weights_trains_the_whole_network(tmp_path, eagerly):
    flags = ["--recipe", "photos", "--weights", "none", "--image-size", "32", "--dry-run", "--precision", "float32"]
    flags += ["--epochs", "1", "--upper-epochs", "0"]
    assert resnet.main(["--dataset", "digits", *flags, "--output-dir", str(tmp_path)]) == 0
    model = saved_model.load(tmp_path / "resnet50_model.h5")
    assert any(layer.name.startswith("conv5") for layer in model.layers)
    gamma, _, mean, _ = model.get_layer("conv3_block1_3_bn").get_weights()
    assert (gamma != 0).any() and (gamma != 1).all() and (mean != 0).any()  # it began at 0, and learns


@pytest.mark.parametrize("flags", [(), ("--recipe", "photos")])
def test_without_weights_more_and_smaller_steps_are_taken(flags):
    config = parse(resnet.Config, [*flags, "--weights", "none"])
    assert {name: getattr(config, name) for name in resnet.Config.random_values} == resnet.Config.random_values
    assert parse(resnet.Config, [*flags, "--weights", "none", "--epochs", "3"]).epochs == 3
