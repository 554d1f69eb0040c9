"""--start-from: what is kept of a saved model, what learns in which phase, and that it can be resumed."""

import json

import numpy as np
import pytest

import cifar100_cnn
import mnist_classification as mnist
import resnet50_transfer_learning as resnet
from pipeline.atomic_io import sha256
from pipeline.backend import keras
from pipeline.config import parse
from pipeline.errors import UserError
from pipeline.models import macs, saved_model
from pipeline.train import fine_tuning, identity, loop, recipe
from pipeline.train.run import Run

layers = keras.layers
DIGITS = tuple("0123456789")


def give_statistics(model):
    """Other BatchNorm statistics than the initial ones, as a trained model has."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])


def save(model, path, class_names=DIGITS, shape=(28, 28, 1)):
    saved_model.save(
        model, path, image_shape=shape, prefix="custom_cnn", dataset="mnist", class_names=class_names, title="A title"
    )
    return path


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """The file of a small custom CNN for the ten digits."""
    keras.utils.set_random_seed(0)
    model = mnist.build_model(mnist.Config(filters=4))
    give_statistics(model)
    return save(model, tmp_path_factory.mktemp("start") / "digits_model.h5")


def flags(start, folder, *more):
    own = f"--dataset digits --limit 40 --batch-size 20 --epochs 3 --precision float32 --start-from {start}"
    return [*own.split(), "--output-dir", str(folder), *more]


def of_layers(model):
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def changed(before, after):
    return {name for name in before if any((a != b).any() for a, b in zip(before[name], after[name], strict=True))}


def test_a_model_for_the_same_classes_starts_as_the_very_function_that_was_saved(start, digits):
    saved = saved_model.open_model(start)
    copy = fine_tuning.starting_copy(saved, DIGITS, 0.3)
    assert changed(of_layers(saved.model), of_layers(copy)) == set()
    images = digits.x_test[:20]
    np.testing.assert_array_equal(saved_model.predict(copy, images), saved_model.predict(saved.model, images))
    copy.layers[-2].set_weights([weight + 1 for weight in copy.layers[-2].get_weights()])
    assert changed(of_layers(saved.model), of_layers(copy)) == {"logits"}, "the opened model is not the copy's"


@pytest.mark.parametrize("names", [("a", "b", "c"), DIGITS[::-1]], ids=["fewer", "another order"])
def test_other_classes_get_a_new_head_on_the_same_trunk(start, names):
    saved = saved_model.open_model(start)
    copy = fine_tuning.starting_copy(saved, names, 0.0)
    before, after = of_layers(saved.model), of_layers(copy)
    head = after.pop("logits")
    assert not fine_tuning.keeps_head(saved, names) and head[0].shape == (before["logits"][0].shape[0], len(names))
    assert head[0].std() > 0 and (head[1] == 0).all(), "randomly initialized"
    del before["logits"]
    assert changed(before, after) == set()


def test_a_model_that_sums_fine_classes_gets_a_head_of_its_own(tmp_path):
    fine = cifar100_cnn.build_fast(6, widths=(4, 4, 4), inner=(4, 4, 4))
    names = ("x", "y", "z")
    summed = save(recipe.sum_to_superclasses(fine, (0, 0, 1, 1, 2, 2)), tmp_path / "summed.h5", names, (32, 32, 3))
    saved = saved_model.open_model(summed)
    assert not fine_tuning.keeps_head(saved, names)
    copy = fine_tuning.starting_copy(saved, names, 0.0)
    assert copy.output_shape == (None, 3) and copy.layers[-2].name == "logits"


def test_first_the_head_learns_alone_then_all_but_batch_norm_and_fixed_filters(tmp_path, monkeypatch, eagerly):
    model = cifar100_cnn.build_fast(20, widths=(4, 4, 4), inner=(4, 4, 4))
    give_statistics(model)
    start = save(model, tmp_path / "start.h5", ["a", "b"] * 10, (32, 32, 3))
    seen, whole, fit, copy_of = [], [], loop.fit, fine_tuning.starting_copy

    def copied(*args):
        whole.append(copy_of(*args))
        seen.append(of_layers(whole[0]))
        return whole[0]

    def watched(*args, **kwargs):
        rows = fit(*args, **kwargs)
        seen.append(of_layers(whole[0]))
        return rows

    monkeypatch.setattr(fine_tuning, "starting_copy", copied)
    monkeypatch.setattr(loop, "fit", watched)
    own = f"--dataset synthetic --limit 40 --batch-size 20 --epochs 1 --precision float32 --start-from {start}"
    assert cifar100_cnn.main([*own.split(), "--validation", "0.02", "--output-dir", str(tmp_path / "out")]) == 0
    before, middle, after = seen
    norms = {layer.name for layer in whole[0].layers if isinstance(layer, layers.BatchNormalization)}
    assert changed(before, middle) == {"logits"} and len(norms) == 9
    assert changed(middle, after) == set(before) - norms - {"whiten"}


@pytest.mark.parametrize("epochs", [2, fine_tuning.HEAD_EPOCHS + 1], ids=["head", "all layers"])
def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(start, tmp_path, monkeypatch, epochs):
    assert mnist.main(flags(start, tmp_path / "whole")) == 0
    add_epoch = Run.add_epoch

    def killed(run, row):
        add_epoch(run, row)
        if len(run.history) > epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "add_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        mnist.main(flags(start, tmp_path / "parts"))
    monkeypatch.undo()
    other = save(mnist.build_model(mnist.Config(filters=4)), tmp_path / start.name)
    with pytest.raises(UserError, match="belongs to another run: files was"):
        mnist.main(flags(other, tmp_path / "parts", "--resume"))
    assert mnist.main(flags(start, tmp_path / "parts", "--resume")) == 0
    one, two = (saved_model.load(tmp_path / name / "custom_cnn_model.h5") for name in ("whole", "parts"))
    assert changed(of_layers(one), of_layers(two)) == set()
    text = (tmp_path / "parts" / "custom_cnn_metrics.json").read_text()
    metrics = json.loads(text)
    assert metrics["files"] == {start.name: sha256(start)} and metrics["config"]["start_from"] == start.name
    assert metrics["started_from"] == {"file": start.name, "title": "A title", "head": "kept"}
    assert metrics["epochs"] == fine_tuning.HEAD_EPOCHS + 3 and str(start.parent) not in text
    every, head = macs.multiply_accumulates(one), macs.of_layer(one.get_layer("logits"))
    of_an_image = 2 * (every - head) + 6 * fine_tuning.HEAD_EPOCHS * head + 6 * 3 * every
    whole = json.loads((tmp_path / "whole" / "custom_cnn_metrics.json").read_text())
    assert metrics["training_flops"] == whole["training_flops"] == 40 * of_an_image


def test_the_settings_of_fine_tuning_stand_unless_a_flag_says_otherwise():
    for script in (mnist, cifar100_cnn, resnet):
        values = dict(script.Config.fine_tuning_values)
        config = parse(script.Config, ["--start-from", "a/b.h5"])
        assert {name: getattr(config, name) for name in values} == values
        assert values["learning_rate"] < script.Config().learning_rate
        assert parse(script.Config, ["--start-from", "b.h5", "--epochs", "7"]).epochs == 7
        assert identity.label(config) == f"{config.recipe} (start_from=b.h5)"
        folder = identity.output_folder(config, "it")
        assert folder.parent.name == "runs", "the models in output/ are not replaced by fine-tuned ones"
        assert "start_from=b.h5" in folder.name


@pytest.mark.parametrize(
    ("script", "flag", "value"), [(mnist, "filters", "8"), (cifar100_cnn, "labels", "fine"), (resnet, "weights", "x")]
)
def test_a_setting_of_the_network_beside_a_model_is_bad_input(script, flag, value):
    with pytest.raises(UserError, match=f"--{flag} .*--start-from"):
        parse(script.Config, ["--start-from", "b.h5", f"--{flag}", value])


def test_a_run_does_not_overwrite_the_model_that_it_starts_from(start, tmp_path):
    own = tmp_path / "custom_cnn_model.h5"
    own.write_bytes(start.read_bytes())
    with pytest.raises(UserError, match=r"overwrite .*custom_cnn_model\.h5.*--output-dir"):
        mnist.main(flags(own, tmp_path))
    assert own.read_bytes() == start.read_bytes()
    best = own.rename(tmp_path / "best_custom_cnn_model.h5")
    with pytest.raises(UserError, match="overwrite"):
        mnist.main(flags(best, tmp_path))


def ensemble():
    pixels = keras.Input((28, 28, 1))
    config = mnist.Config(filters=1, ensemble=2)
    return mnist.average([mnist.build_model(config, kernel, pixels) for kernel in (3, 5)])


def four_channels():
    pixels = keras.Input((28, 28, 4))
    return keras.Model(pixels, layers.Softmax()(layers.Dense(10)(layers.Flatten()(pixels))))


@pytest.mark.parametrize(
    ("build", "channels", "said"), [(ensemble, 1, "single network"), (four_channels, 4, r"inputs \(28, 28, 4\)")]
)
def test_a_model_that_cannot_be_started_from_is_one_line(build, channels, said, tmp_path):
    path = save(build(), tmp_path / "odd.h5", shape=(28, 28, channels))
    with pytest.raises(UserError, match=said):
        mnist.main(flags(path, tmp_path / "out"))


@pytest.mark.parametrize(("dataset", "digest", "warns"), [("digits", "x", 1), ("mnist", "x", 0), ("digits", None, 0)])
def test_the_same_data_in_another_state_than_the_models_are_warned_of(
    start, tmp_path, monkeypatch, capsys, dataset, digest, warns
):
    path, about = tmp_path / "start.h5", saved_model.metadata(start) | {"dataset": dataset}
    if digest:
        about["data_sha256"] = digest
    saved_model.save(saved_model.load(start), path, image_shape=(28, 28, 1), **about)

    def far_enough(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(fine_tuning, "Run", far_enough)
    with pytest.raises(KeyboardInterrupt):
        mnist.main(flags(path, tmp_path / "out"))
    assert capsys.readouterr().err.count("has changed since start.h5 was trained") == warns


def test_a_missing_or_foreign_file_is_one_line(tmp_path):
    (tmp_path / "text.h5").write_text("no model")
    for name in ("text.h5", "none.h5"):
        with pytest.raises(UserError, match=name):
            mnist.main(flags(tmp_path / name, tmp_path / "out"))
