"""What a model is fed: shuffled and augmented batches for training, all images in order for validation."""

import multiprocessing

import numpy as np

from pipeline.backend import keras
from pipeline.data.augment import AUGMENTATION, MIXING, ORDER, stream
from pipeline.data.rows import at_once
from pipeline.errors import UserError

# Two threads prepare batches beside the training step. With one, Keras hands the work to an
# autotuned tf.data pipeline, whose end waits for a timer of TensorFlow 2.21 that fires 10 ms, 20 ms,
# ... 41 s, 82 s after its start: an epoch of 45 seconds then took 82.
THREADS = {"workers": 2, "max_queue_size": 4}


def check_threads() -> None:
    """Raise UserError where Keras cannot start its threads, which need a semaphore: some containers allow none."""
    try:
        multiprocessing.Lock()
    except (ImportError, OSError) as error:
        raise UserError("training needs semaphores, and this system makes none; is /dev/shm writable?") from error


class Batches(keras.utils.PyDataset):
    """One epoch's shuffled, augmented batches.

    A last, smaller batch is left out; another shuffle brings its images back in the next epoch. The images
    come out as float32, pixels still in [0, 255].

    Args:
        images: (n, h, w, c) uint8 pixels, or (n, features) float32.
        labels: (n,) int, or soft labels (n, classes) float32.
        epoch: counted from 0 over all phases of a run.
        augment: (images, rng, indices (batch,) in the training set, epoch) to images of any side and dtype, or None.
        mix: (images, labels, rng, epoch) to both, or None.
        class_weights: (classes,) weight of each class in the loss, or None.
        first: step to begin with, counted from 0.
    """

    def __init__(
        self,
        images,
        labels,
        *,
        batch_size: int,
        seed: int,
        epoch: int,
        augment,
        mix=None,
        class_weights: np.ndarray | None = None,
        first: int = 0,
    ):
        super().__init__(**THREADS)
        self.first, self.augment, self.mix = first, augment, mix
        self.images, self.labels, self.class_weights = images, labels, class_weights
        self.seed, self.epoch = seed, epoch
        self.size = min(batch_size, len(images))
        self.order = stream(ORDER, seed, epoch).permutation(len(images))

    def __len__(self):
        return len(self.images) // self.size - self.first

    def image_shape(self) -> tuple[int, ...]:
        """Shape of an image as it comes out, (h, w, c) or (features,)."""
        if not self.augment:
            return self.images.shape[1:]
        few = self.order[:2]
        rng = stream(AUGMENTATION, self.seed, self.epoch, 0)
        return self.augment(self.images[few], rng=rng, indices=few, epoch=self.epoch).shape[1:]

    def __getitem__(self, index):
        step = self.first + index
        chosen = self.order[step * self.size : (step + 1) * self.size]
        images, labels = self.images[chosen], self.labels[chosen]
        if self.augment:
            rng = stream(AUGMENTATION, self.seed, self.epoch, step)
            images = self.augment(images, rng=rng, indices=chosen, epoch=self.epoch)
        if self.mix:
            rng = stream(MIXING, self.seed, self.epoch, step)
            images, labels = self.mix(images, labels, rng=rng, epoch=self.epoch)
        images = images.astype(np.float32, copy=False)
        if self.class_weights is None:
            return images, labels
        weights = labels @ self.class_weights if labels.ndim == 2 else self.class_weights[labels]
        return images, labels, weights


def balanced(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weights (classes,) float32 with which every class counts alike, of mean 1 over the images.

    A class without images has weight 0.

    Args:
        labels: (n,) int, or soft labels (n, classes).
    """
    count = np.bincount(labels, minlength=classes) if labels.ndim == 1 else labels.sum(axis=0)
    weights = count.sum() / (np.count_nonzero(count) * np.maximum(count, 1))
    weights[count == 0] = 0
    return weights.astype(np.float32)


class InOrder(keras.utils.PyDataset):
    """All images in their order, 500 at a time or as many large ones as at_once() says, as they are.

    Args:
        images: (n, ...), pixels in [0, 255] or features.
        labels: (n,) int, or soft labels (n, classes) float32.
    """

    def __init__(self, images, labels):
        super().__init__(**THREADS)
        self.images, self.labels = images, labels
        self.size = at_once(500, images.shape[1:])

    def __len__(self):
        return -(-len(self.images) // self.size)

    def __getitem__(self, step):
        chosen = slice(self.size * step, self.size * (step + 1))
        return self.images[chosen].astype(np.float32), self.labels[chosen]
