"""Operations of a training against counts by hand."""

from types import SimpleNamespace

import numpy as np

from pipeline.backend import keras, layers
from pipeline.train import flops


def network():
    pixels = keras.Input((None, None, 1))
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="first")(pixels)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, layers.Softmax()(layers.Dense(5, name="logits")(x)))


def test_a_step_takes_six_operations_per_multiply_accumulate_and_two_where_nothing_is_trained():
    model = network()
    convolution, dense = 8 * 8 * 9 * 4, 4 * 5
    assert flops.of_step(model, (8, 8, 1)) == 6 * (convolution + dense)
    model.get_layer("first").trainable = False
    assert flops.of_step(model, (8, 8, 1)) == 2 * convolution + 6 * dense


def test_epochs_count_by_the_size_of_their_images_without_the_incomplete_batch():
    def augment(images, rng, indices, epoch):
        return images[:, ::2, ::2] if epoch == 0 else images

    dataset = SimpleNamespace(x_train=np.zeros((2, 8, 8, 1), np.uint8), y_train=np.zeros(25))
    expected = 20 * 6 * (4 * 4 * 36 + 20) + 2 * 20 * 6 * (8 * 8 * 36 + 20)
    assert flops.of_epochs(network(), dataset, augment, 0, range(3), batch_size=10) == expected


def test_layers_without_a_rule_give_no_count():
    pixels = keras.Input((8, 8, 1))
    x = layers.GlobalAveragePooling1D()(layers.LSTM(3, return_sequences=True)(layers.Reshape((8, 8))(pixels)))
    model = keras.Model(pixels, layers.Dense(2, activation="softmax")(x))
    dataset = SimpleNamespace(x_train=np.zeros((4, 8, 8, 1)), y_train=np.zeros(4))
    assert flops.of_epochs(model, dataset, None, 0, range(1), 4) is None
    assert flops.of_pass(model, 4) is None


def test_the_counted_copy_belongs_to_no_other_host(monkeypatch):
    """Its random weights differ from host to host, which JAX refuses for what hosts share."""
    among_hosts, seen, model = object(), [], network()
    copy = flops.flat.inference_copy

    def watched(*args):
        seen.append(keras.distribution.distribution())
        return copy(*args)

    monkeypatch.setattr(flops.flat, "inference_copy", watched)
    keras.distribution.set_distribution(among_hosts)
    try:
        flops.of_step(model, (8, 8, 1))
        assert seen == [None] and keras.distribution.distribution() is among_hosts
    finally:
        keras.distribution.set_distribution(None)
