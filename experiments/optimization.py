"""Initializations, learning rates and optimizers of the ablation study, and a moving average of the weights.

The functions with_... and without_... replace cifar100_cnn.prepare_fast: they initialize and compile a model.
"""

import numpy as np

import cifar100_cnn
from pipeline.backend import keras, layers
from pipeline.train import adam, recipe


def without_whitening(model: keras.Model, config, dataset) -> None:
    """No whitening: the first convolution is initialized at random and trained, as any other."""
    cifar100_cnn.prepare_fast(model, config, dataset)
    layer = model.get_layer("whiten")
    layer.kernel.assign(layer.kernel_initializer(layer.kernel.shape))
    layer.kernel.trainable = True


def without_dirac_initialization(model: keras.Model, config, dataset) -> None:
    """No dirac initialization: the 3x3 convolutions keep their random one (Glorot & Bengio 2010)."""
    cifar100_cnn.prepare_fast(model, config, dataset)
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D) and layer.kernel_size == (3, 3):
            layer.kernel.assign(layer.kernel_initializer(layer.kernel.shape))


def compile_with(optimizer: keras.optimizers.Optimizer, model: keras.Model, config) -> None:
    """Compile as recipe fast does, with another optimizer; biases and BatchNorm have no weight decay."""
    optimizer.exclude_from_weight_decay(var_names=["beta", "gamma", "bias"])
    recipe.compile_model(model, optimizer, recipe.SmoothedCrossEntropy(config.label_smoothing))


def with_adamw(model: keras.Model, config, dataset, peak: float = 2e-3, weight_decay: float = 0.05) -> None:
    """AdamW (Loshchilov & Hutter 2019) with the recipe's schedule."""
    cifar100_cnn.prepare_fast(model, config, dataset)
    rate = recipe.one_cycle(peak, config.epochs * recipe.steps_per_epoch(dataset, config), config.warm_up)
    compile_with(adam.AdamW(rate, weight_decay=weight_decay), model, config)


def with_sgd(
    model: keras.Model, config, dataset, peak: float = 0.4, momentum: float = 0.85, weight_decay: float = 0.009
) -> None:
    """Nesterov SGD with the recipe's schedule and decoupled weight decay."""
    cifar100_cnn.prepare_fast(model, config, dataset)
    rate = recipe.one_cycle(peak, config.epochs * recipe.steps_per_epoch(dataset, config), config.warm_up)
    compile_with(keras.optimizers.SGD(rate, momentum, nesterov=True, weight_decay=weight_decay), model, config)


class Average(keras.callbacks.Callback):
    """Exponential moving average of all weights over the steps (Polyak & Juditsky 1992), BatchNorm statistics included.

    Keras' use_ema puts the average into the model at the end of every fit(); here an epoch is a fit().

    Args:
        decay: weight of the old average in a step, in (0, 1).
    """

    def __init__(self, decay: float):
        super().__init__()
        self.decay, self.weights = decay, None

    def on_train_begin(self, logs=None):
        if self.weights is None:
            self.weights = [np.array(value) for value in self.model.get_weights()]

    def on_train_batch_end(self, batch, logs=None):
        for mean, value in zip(self.weights, self.model.get_weights(), strict=True):
            mean += (1 - self.decay) * (value - mean)

    def apply(self) -> None:
        """Put the average into the model."""
        self.model.set_weights(self.weights)
