"""Novelty score of an image: how far its features are from those of a saved model's training images.

The last activations of each size of feature maps are averaged over their places. The score adds the squared Mahalanobis
distances of these averages to the nearest class, with one covariance for all classes (Lee et al. 2018, section 2, arXiv
1807.03888), and is scaled so that few validation images are above 1. benchmarks/novelty.py compares it with others.
"""

import shutil
from pathlib import Path

import h5py
import numpy as np

from pipeline.atomic_io import replacing
from pipeline.backend import keras, layers
from pipeline.data.rows import take
from pipeline.errors import UserError
from pipeline.models import h5_scan, saved_model

GROUP = "novelty"  # of the .h5 file: a group per layer, which holds `whitening` and `means`
IMAGES = 5_000  # training images at most from which means and covariances are estimated
FEW = 20  # images of each class that are always among them
DIMENSIONS = 256  # of one layer's features at most, those of the largest variance
RIDGE = 1e-4  # added to each variance, times the mean variance
# Fraction of the validation images above 1. A digit that is refused annoys whoever wrote it; photographs of 20 classes
# vary so much that with fewer false alarms hardly anything would be found.
FALSE_ALARMS_DIGITS, FALSE_ALARMS = 0.007, 0.05

# Layer name -> whitening (channels, d), and means of the classes (classes, d) after it, float32.
Statistics = dict[str, tuple[np.ndarray, np.ndarray]]


def add(path: Path, dataset) -> None:
    """Store what the score needs in a saved model's file; a model without feature maps stays as it is.

    Args:
        dataset: data.datasets.Dataset that the model was trained on, with its validation part.
    """
    statistics = fit(saved_model.open_model(path).model, dataset)
    if not statistics:
        return
    with replacing(path) as temporary:
        shutil.copyfile(path, temporary)
        with h5py.File(temporary, "a") as file:
            if GROUP in file:
                del file[GROUP]
            for name, (whitening, means) in statistics.items():
                file[f"{GROUP}/{name}/whitening"] = whitening
                file[f"{GROUP}/{name}/means"] = means
            file.attrs[h5_scan.DIGEST] = h5_scan.digest(file)


def fit(model, dataset) -> Statistics:
    """Statistics of a model's training images, scaled by its validation images; {} where it has no feature maps."""
    names = feature_layers(model)
    if not names:
        return {}
    averages = keras.ops.concatenate([_average(model, name) for name in names], axis=1)
    features = keras.Model(model.input, averages)
    ends = np.cumsum([model.get_layer(name).output.shape[-1] for name in names])[:-1]

    def averaged(images, part: str) -> list[np.ndarray]:
        what = f"{part} images for the novelty score"
        return np.split(saved_model.predict(features, images, what=what), ends, axis=1)

    chosen = representative(dataset.y_train)
    train = averaged(take(dataset.x_train, chosen), "training")  # images on the disk stay there
    validation = averaged(dataset.x_validation, "validation")
    statistics, score = {}, np.zeros(len(dataset.x_validation))
    for name, of_train, of_validation in zip(names, train, validation, strict=True):
        whitening, means = whitened(of_train.astype(np.float64), dataset.y_train[chosen])
        distance = distances(of_validation, whitening, means)
        scale = 1 / max(distance.mean(), 1e-12)  # every layer counts alike
        score += scale * distance
        statistics[name] = (np.sqrt(scale) * whitening, np.sqrt(scale) * means)
    false_alarms = FALSE_ALARMS_DIGITS if dataset.digits else FALSE_ALARMS
    threshold = max(np.quantile(score, 1 - false_alarms), 1e-12)
    return {
        name: tuple(np.float32(array / np.sqrt(threshold)) for array in arrays) for name, arrays in statistics.items()
    }


def representative(labels: np.ndarray) -> np.ndarray:
    """Indices of the first IMAGES images, and of the first few of each class, so that no rare one is missing; sorted.

    Args:
        labels: (n,) int.
    """
    rare = [np.flatnonzero(labels == label)[:FEW] for label in np.unique(labels)]
    return np.unique(np.concatenate([np.arange(min(IMAGES, len(labels))), *rare]))


def feature_layers(model) -> list[str]:
    """Names of the last activations of each size (height, width) of feature maps; [] for a model with a model in it.

    What comes before an activation may change where an export folds BatchNorm into the weights.
    """
    last = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            return []
        if _is_activation(layer) and len(layer.output.shape) == 4:
            last[layer.output.shape[1:3]] = layer.name
    return list(last.values())


def _is_activation(layer) -> bool:
    """Whether a layer ends in a nonlinear function of each value."""
    if isinstance(layer, (layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU)):
        return True
    linear = keras.activations.linear
    return getattr(layer, "activation", linear) is not linear


def stored(saved: saved_model.SavedModel) -> Statistics:
    """What add() stored in a saved model's file; {} where nothing was.

    Raises:
        UserError: it does not fit the model.
    """
    found = {}
    with h5py.File(saved.path, "r") as file:
        for name, group in file.get(GROUP, {}).items():
            found[name] = tuple(np.asarray(group.get(key), np.float32) for key in ("whitening", "means"))
    channels = {name: saved.model.get_layer(name).output.shape[-1] for name in feature_layers(saved.model)}
    for name, (whitening, means) in found.items():
        fits = whitening.ndim == means.ndim == 2 and whitening.shape[1] == means.shape[1] and len(means)
        if not fits or channels.get(name) != len(whitening):
            raise UserError(f"{saved.path} carries a novelty score that does not fit its layers; train it again")
    return found


def scorer(saved: saved_model.SavedModel):
    """Keras model from raw pixels (n, h, w, c) to the score (n,); None where the file has none.

    Raises:
        UserError: as stored() does.
    """
    statistics = stored(saved)
    return keras.Model(saved.model.input, score(saved.model, statistics)) if statistics else None


def with_score(model, statistics: Statistics):
    """Keras model with two outputs, the probabilities (n, classes) and the score (n,)."""
    return keras.Model(model.input, [model.outputs[0], score(model, statistics)])


def score(model, statistics: Statistics):
    """The score of a model's input as a symbolic tensor (n,) of its graph, to make a keras.Model of.

    Args:
        model: the saved model, or one with the same layers (export.fold_batch_norm).
        statistics: of at least one layer.
    """
    total = 0
    for name, (whitening, means) in statistics.items():
        whitened = keras.ops.matmul(_average(model, name), whitening)
        distances = keras.ops.square(keras.ops.expand_dims(whitened, 1) - means[None])
        total = total + keras.ops.min(keras.ops.sum(distances, axis=-1), axis=1)
    return total


def _average(model, name: str):
    """A layer's feature maps averaged over their places, symbolic (n, channels)."""
    return keras.ops.mean(model.get_layer(name).output, axis=(1, 2))


def whitened(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whitening (channels, d) by the covariance within the classes, and the classes' means after it (classes, d)."""
    classes, places = np.unique(labels, return_inverse=True)
    means = np.stack([features[labels == label].mean(axis=0) for label in classes])
    within = features - means[places]
    variances, directions = np.linalg.eigh(within.T @ within / len(within))
    ridge = max(RIDGE * variances.mean(), 1e-12)
    whitening = directions[:, -DIMENSIONS:] / np.sqrt(variances[-DIMENSIONS:] + ridge)
    return whitening, means @ whitening


def distances(features: np.ndarray, whitening: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis distance (n,) to the nearest class."""
    whitened = features @ whitening
    return np.min([((whitened - mean) ** 2).sum(axis=1) for mean in means], axis=0)
