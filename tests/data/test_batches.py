"""One epoch's batches and dropout masks: a function of seed and epoch, and of nothing else."""

import numpy as np
import pytest

from pipeline.backend import keras
from pipeline.data import augment
from pipeline.data.batches import Batches, InOrder, balanced, check_threads
from pipeline.errors import UserError
from pipeline.train import loop


def batches(epoch, seed=0, n=50, augment=None):
    images = np.arange(n, dtype=np.uint8)[:, None, None, None]
    return Batches(images, np.arange(n), batch_size=8, seed=seed, epoch=epoch, augment=augment)


def shown(one):
    """Labels of an epoch in their order; each must come with its own image."""
    parts = [one[step] for step in range(len(one))]
    for images, labels in parts:
        assert images.dtype == np.float32
        np.testing.assert_array_equal(images.ravel(), labels)
    return [int(label) for _, labels in parts for label in labels]


def test_an_epoch_shows_every_image_at_most_once_in_an_order_of_its_own_that_repeats():
    first, second, other_seed = shown(batches(0)), shown(batches(1)), shown(batches(0, seed=1))
    assert len(first) == 48 == len(set(first)) == len(set(second))
    assert first != second != other_seed != first and first != sorted(first)
    assert first == shown(batches(0))


def test_images_left_out_of_one_epoch_come_in_another():
    assert set().union(*(shown(batches(epoch)) for epoch in range(4))) == set(range(50))


def test_a_batch_larger_than_the_data_set_is_the_whole_data_set():
    assert sorted(shown(batches(0, n=5))) == [0, 1, 2, 3, 4]


def test_augmentation_gets_the_batch_its_own_stream_its_indices_and_the_epoch():
    calls = []

    def spy(images, *, rng, indices, epoch):
        calls.append((rng.integers(2**62), epoch))
        np.testing.assert_array_equal(images.ravel(), indices)
        return images + 100.0

    images, labels = batches(3, augment=spy)[2]
    np.testing.assert_array_equal(images.ravel(), labels + 100)
    assert images.dtype == np.float32
    assert calls == [(augment.stream(augment.AUGMENTATION, 0, 3, 2).integers(2**62), 3)]


def test_balanced_weights_have_mean_1_and_a_class_without_images_none():
    labels = np.repeat([0, 2], [30, 10])
    weights = balanced(labels, 4)
    np.testing.assert_allclose(weights, [2 / 3, 0, 2, 0], rtol=1e-6)
    assert np.isclose(weights[labels].mean(), 1)
    np.testing.assert_array_equal(balanced(np.eye(4, dtype=np.float32)[labels], 4), weights)


def test_validation_images_come_in_order_and_large_ones_fewer_at_once():
    for side, size in ((32, 500), (64, 125)):
        images = np.zeros((510, side, side, 1), np.uint8)
        one = InOrder(images, np.arange(510))
        labels = [one[step][1] for step in range(len(one))]
        assert len(labels[0]) == size
        np.testing.assert_array_equal(np.concatenate(labels), np.arange(510))


def test_dropout_masks_belong_to_seed_epoch_and_layer():
    pixels = keras.Input((500,))
    one, other = keras.layers.Dropout(0.5)(pixels), keras.layers.Dropout(0.5)(pixels)
    model = keras.Model(pixels, [one, other])

    def masks(seed, epoch):
        loop.seed_layers(model, seed, epoch)
        return [np.asarray(mask) for mask in model(np.ones((1, 500), np.float32), training=True)]

    usual = masks(0, 0)
    for mask, again in zip(usual, masks(0, 0), strict=True):
        np.testing.assert_array_equal(mask, again)
    for different in (masks(0, 1), masks(1, 0), usual[::-1]):
        assert not np.array_equal(usual[0], different[0])


@pytest.mark.parametrize("failure", [OSError(30, "Read-only file system"), ImportError("no sem_open")])
def test_a_system_without_semaphores_is_told_of_in_one_line(monkeypatch, failure):
    def no_lock():
        raise failure

    check_threads()
    monkeypatch.setattr("multiprocessing.Lock", no_lock)
    with pytest.raises(UserError, match="/dev/shm"):
        check_threads()
