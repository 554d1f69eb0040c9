"""CutMix: images and labels are mixed by the same fractions, from known streams."""

import numpy as np
import pytest

import cifar100_cnn
from pipeline.backend import keras
from pipeline.data import augment, datasets
from pipeline.data.batches import Batches
from pipeline.train import loop, recipe


@pytest.fixture
def batch():
    """Images whose every pixel tells which image it is from, and one-hot labels."""
    images = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None, None, None], (8, 12, 10, 3)).copy()
    return images, np.eye(8, dtype=np.float32)


def test_cutmix_labels_are_the_areas_of_one_rectangle_per_batch(batch):
    images, labels = batch
    pasted = []
    for seed in range(300):
        mixed, soft = augment.cutmix(images, labels, np.random.default_rng(seed), alpha=1.0, probability=1.0)
        np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-6)
        for number, (image, label) in enumerate(zip(mixed, soft, strict=True)):
            counted = np.bincount(image[..., 0].astype(int).ravel(), minlength=8) / 120
            np.testing.assert_allclose(label, counted, atol=1e-6)
            foreign = (image != number).any(axis=-1)
            np.testing.assert_array_equal(foreign, foreign.any(axis=1)[:, None] & foreign.any(axis=0)[None])
        pasted.append(1 - np.diag(soft).min())
    assert min(pasted) < 0.05 and max(pasted) > 0.6
    np.testing.assert_array_equal(images[:, 0, 0, 0], np.arange(8))


def test_cutmix_leaves_some_batches_as_they_are(batch):
    kept = [
        augment.cutmix(*batch, np.random.default_rng(seed), alpha=1.0, probability=0.3)[0] is batch[0]
        for seed in range(400)
    ]
    assert 0.63 < np.mean(kept) < 0.77


@pytest.mark.parametrize(("epochs", "mixed"), [(1, 0), (2, 1), (10, 9), (22, 19), (150, 140)])
def test_cutmix_ends_with_whole_images_in_a_short_run_too(epochs, mixed, batch):
    mix = augment.cutmix_schedule(epochs, 1.0)
    changed = [mix(*batch, rng=np.random.default_rng(0), epoch=epoch)[0] is not batch[0] for epoch in range(epochs)]
    assert changed == [True] * mixed + [False] * (epochs - mixed)


def test_soft_labels_are_the_labels_of_training_and_validation_one_hot():
    dataset = datasets.split(datasets.load("digits"))
    soft = augment.with_soft_labels(dataset)
    for part in ("y_train", "y_validation"):
        assert getattr(soft, part).dtype == np.float32
        np.testing.assert_array_equal(getattr(soft, part), np.eye(10)[getattr(dataset, part)])
    np.testing.assert_array_equal(soft.y_test, dataset.y_test)


def batches(mix, labels, epoch=1):
    images = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 1), dtype=np.uint8)
    return Batches(images, labels, batch_size=8, seed=4, epoch=epoch, augment=None, mix=mix)


def test_mixed_batches_are_the_usual_ones_with_a_stream_of_their_own():
    def keep(images, labels, rng, epoch):
        draws.append(rng.integers(2**62))
        assert epoch == 1
        return images, labels

    draws, labels = [], np.arange(20) % 3
    mixed, usual = batches(keep, np.eye(3)[labels]), batches(None, labels)
    assert len(mixed) == len(usual) == 2
    for step in range(2):
        images, classes = usual[step]
        same, soft = mixed[step]
        np.testing.assert_array_equal(same, images)
        np.testing.assert_array_equal(soft, np.eye(3)[classes])
    expected = [augment.stream(augment.MIXING, 4, 1, step).integers(2**62) for step in range(2)]
    assert draws == expected
    assert augment.MIXING not in (augment.ORDER, augment.AUGMENTATION, augment.FLIPS, augment.DROPOUT)


def test_a_model_trains_on_soft_labels():
    """Softmax regression on one mixed batch: the gradient of its bias is the mean of p - target."""
    mixed = batches(lambda images, labels, **_: (images / 255, 0.5 * labels + 0.5 / 3), np.eye(3)[np.arange(20) % 3])
    pixels = keras.Input((6, 6, 1))
    dense = keras.layers.Dense(3, activation="softmax", kernel_initializer="zeros")
    model = keras.Model(pixels, dense(keras.layers.Flatten()(pixels)))
    model.compile(keras.optimizers.SGD(1.0), recipe.SmoothedCrossEntropy(0.2), metrics=["accuracy"], jit_compile=False)
    images, soft = mixed[0]
    model.train_on_batch(images, soft)
    target = 0.8 * soft + 0.2 / 3
    np.testing.assert_allclose(np.array(dense.bias), -(1 / 3 - target).mean(axis=0), atol=1e-5)


def test_the_script_mixes_as_its_flags_say(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(augment, "cutmix_schedule", lambda *schedule: asked.append(schedule))
    monkeypatch.setattr(loop, "fit", lambda *rest, **rules: 1 / 0)
    flags = ["--dataset", "synthetic", "--limit", "60", "--cutmix", "0.5", "--epochs", "7"]
    with pytest.raises(ZeroDivisionError):
        cifar100_cnn.main([*flags, "--output-dir", str(tmp_path)])
    assert asked == [(7, 0.5)]
