"""Parts of a training recipe: losses, learning-rate schedules, initializations, BatchNorm, temperature scaling."""

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax

from pipeline.backend import keras
from pipeline.models import contract, saved_model

# JAX needs its compiler; on the TensorFlow backend XLA made these convolutions slower on a CPU.
JIT = "auto" if keras.backend.backend() == "jax" else False


def steps_per_epoch(dataset, config) -> int:
    """Whole batches in an epoch, for the learning-rate schedule."""
    n = len(dataset.x_train)
    return n // min(config.batch_size, n)


def one_cycle(peak: float, steps: int, warm_up: float) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear from 0 to `peak` over the share `warm_up` of all steps, then a half cosine to 0.

    Args:
        peak: largest learning rate.
        steps: training steps of the whole run.
        warm_up: share of the steps before the peak, in [0, 1).
    """
    rising = int(warm_up * steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=max(1, steps - rising), warmup_target=peak, warmup_steps=rising
    )


class Plateau:
    """The learning rate and the end of training as a function of the validation losses so far.

    Same rule as keras.callbacks.ReduceLROnPlateau(min_delta=0) and EarlyStopping, but without a
    state of its own: a resumed run computes it again from its history.
    """

    def __init__(self, learning_rate: float, factor: float, patience: int, stop_after: int):
        self.learning_rate, self.factor = learning_rate, factor
        self.patience, self.stop_after = patience, stop_after  # both in epochs

    def rate(self, losses: list[float]) -> float:
        """Learning rate of the epoch that follows these validation losses."""
        best, waited, rate = float("inf"), 0, self.learning_rate
        for loss in losses:
            best, waited = (loss, 0) if loss < best else (best, waited + 1)
            if waited >= self.patience:
                rate, waited = rate * self.factor, 0
        return rate

    def stops(self, losses: list[float]) -> bool:
        """Whether the best loss is `stop_after` epochs old."""
        if not losses:
            return False
        known = np.where(np.isnan(losses), np.inf, losses)  # a loss that is no number is no best one
        return len(losses) - 1 - int(np.argmin(known)) >= self.stop_after


def _soft_labels(y_true, classes: int):
    """Integer labels (n,) or (n, 1) as one-hot rows; soft labels (n, classes) as they are."""
    if len(y_true.shape) == 1 or y_true.shape[-1] == 1:
        return keras.ops.one_hot(keras.ops.reshape(keras.ops.cast(y_true, "int32"), (-1,)), classes)
    return y_true


class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross-entropy of probabilities with label smoothing (Szegedy et al. 2016, section 7).

    Labels are integers (n,) or, of mixed images, soft labels (n, classes) whose rows sum to 1. The target is
    1 - label_smoothing on the true class plus label_smoothing / classes on every one.

    Args:
        label_smoothing: fraction of the target spread evenly, in [0, 1).
    """

    def __init__(self, label_smoothing: float = 0.0):
        super().__init__(name="cross_entropy")
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        y_true = _soft_labels(y_true, y_pred.shape[-1])
        return keras.losses.categorical_crossentropy(y_true, y_pred, label_smoothing=self.label_smoothing)


def cross_entropy(y_true, y_pred):
    """Plain cross-entropy (n,) in nats: without label smoothing and L2, so that it compares with the test loss."""
    return keras.losses.categorical_crossentropy(_soft_labels(y_true, y_pred.shape[-1]), y_pred)


def compile_model(model: keras.Model, optimizer: keras.optimizers.Optimizer, loss) -> None:
    """Compile for training, with accuracy and plain cross-entropy as the metrics of the history."""
    model.compile(optimizer, loss, metrics=["accuracy", cross_entropy], jit_compile=JIT)


def whiten(layer, images: np.ndarray) -> None:
    """Set a convolution to filters that decorrelate its patches, and freeze them (airbench, section 3.2).

    The filters are the eigenvectors of the patches' covariance over the root of its eigenvalues, each
    one also with its sign turned, so that nothing is lost in the ReLU that follows.

    Args:
        layer: built Conv2D with twice as many filters as a patch has values; its bias stays trainable.
        images: (n, h, w, c) float32, normalized as the layer sees them.
    """
    size = layer.kernel_size[0]
    patches = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))[:, ::size, ::size]
    patches = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, size * size * images.shape[-1])
    values, vectors = np.linalg.eigh(np.cov(patches, rowvar=False))
    filters = (vectors / np.sqrt(values + 5e-4)).reshape(size, size, images.shape[-1], -1)[..., ::-1]
    layer.kernel.assign(np.concatenate([filters, -filters], axis=-1))
    layer.kernel.trainable = False


def dirac_initialization(layer) -> None:
    """Let a convolution's first filters pass its input channels on unchanged (dirac start; airbench, 3.3)."""
    kernel = np.array(layer.kernel)
    channels = min(kernel.shape[2:])
    middle = kernel.shape[0] // 2
    kernel[..., :channels] = 0
    kernel[middle, middle, np.arange(channels), np.arange(channels)] = 1
    layer.kernel.assign(kernel)


def sum_to_superclasses(model: keras.Model, superclass: Sequence[int]) -> keras.Model:
    """Probabilities of superclasses from those of the finer classes (training on these: Chen et al. 2018, 1901.07012).

    Args:
        model: ends in probabilities (n, classes).
        superclass: where each of the classes belongs, counted from 0.
    """
    membership = np.eye(max(superclass) + 1, dtype=np.float32)[list(superclass)]
    add = keras.layers.Dense(membership.shape[1], use_bias=False, dtype="float32", name="superclasses")
    summed = keras.Model(model.input, add(model.output), name=model.name)
    add.kernel.assign(membership)
    return summed


def scale_temperature(model, images: np.ndarray, labels: np.ndarray) -> float:
    """Temperature scaling of the logits for calibrated probabilities (Guo et al. 2017, arXiv 1706.04599, 4.2).

    One number, the temperature with the least cross-entropy on images that the weights were not
    trained on. No prediction of this model changes; where probabilities are summed or averaged after
    it, some may. Label smoothing leaves a model less confident than it should be.

    Args:
        model: ends in a Dense layer and a softmax; the Dense layer's weights are divided.
        images: (n, h, w, c) raw pixels; labels: (n,).
    Returns:
        The temperature, in [0.1, 10]; 1 where no Dense layer stands before the softmax.
    """
    what = "validation images for the temperature"
    last = model.layers[-1]
    if contract.has_softmax_inside(last):
        dense, logits = last, np.log(np.maximum(saved_model.predict(model, images, what=what), 1e-30))
    else:
        dense = model.layers[-2]
        logits = saved_model.predict(keras.Model(model.inputs[0], dense.output), images, what=what)
    if not isinstance(dense, keras.layers.Dense):
        return 1.0
    rows = np.arange(len(labels))
    losses = {t: -log_softmax(logits / t, axis=1)[rows, labels].mean() for t in np.geomspace(0.1, 10, 401)}
    best = min(losses, key=losses.get)
    dense.set_weights([weight / best for weight in dense.get_weights()])
    return float(best)
