"""Images that would fill the memory: in a file on the disk, read where they are asked for; and some at a time."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pipeline import console

AREA = 32**2  # pixels of an image, up to which the usual number of images is read at once
MANY = 100_000  # images on the disk, from which on reading them all takes so long that progress is printed


class Rows:
    """Read-only images (n, h, w, c) uint8 that lie in a file; what is indexed of them is read into an array.

    Args:
        path: the file: raw pixels, one image after the other.
        image_shape: (h, w, c) of each image in it.
        places: (n,) int, which of the file's images these are, in their order.
        gray: makes images (m, h, w, 3) gray, (m, h, w, 1), after they were read; None leaves them.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, path: Path, image_shape: tuple[int, int, int], places: np.ndarray, gray=None):
        self.path, self.stored_shape, self.places, self.gray = path, image_shape, places, gray
        self.shape = (len(places), *image_shape[:2], 1 if gray else image_shape[2])

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, key) -> np.ndarray:
        if isinstance(key, tuple):
            first, *rest = key
            images = self[first]
            before = (slice(None),) * (images.ndim - 3)
            return images[(*before, *rest)]
        chosen = self.places[key]
        return self._read(chosen.ravel()).reshape(*chosen.shape, *self.shape[1:])

    def __iter__(self) -> Iterator[np.ndarray]:
        return (image for part in chunks(self) for image in part)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def take(self, places: np.ndarray) -> "Rows":
        """Some of the images, which stay on the disk."""
        return Rows(self.path, self.stored_shape, self.places[places], self.gray)

    def as_gray(self, gray: Callable[[np.ndarray], np.ndarray]) -> "Rows":
        """The images made gray by a function as __init__ takes it, (n, h, w, 1)."""
        return Rows(self.path, self.stored_shape, self.places, gray)

    def setflags(self, write: bool) -> None:
        """As of an array; they cannot be written to in any case."""

    def _read(self, places: np.ndarray) -> np.ndarray:
        images = np.empty((len(places), *self.stored_shape), np.uint8)
        with open(self.path, "rb") as file:
            for place, image in zip(places.tolist(), images, strict=True):
                file.seek(place * image.nbytes)
                if file.readinto(image) < image.nbytes:
                    raise EOFError(f"{self.path} ends before image {place}")
        return self.gray(images) if self.gray else images


def take(images, places: np.ndarray):
    """Some images (n, h, w, c) of an array as a copy, of Rows as Rows."""
    return images.take(places) if isinstance(images, Rows) else images[places]


def at_once(usual: int, shape: tuple[int, ...], fewest: int = 1) -> int:
    """How many images fit where `usual` images of 32x32 pixels do; of smaller ones, and of features, as many.

    Args:
        shape: of one image, (h, w, c), or of one row of anything else.
        fewest: to be read however large they are.
    """
    if len(shape) < 3:
        return usual
    height, width = shape[:2]
    fitting = usual * AREA // (height * width)
    return min(usual, max(fewest, fitting))


def chunks(array, what: str = "") -> Iterator[np.ndarray]:
    """Contiguous parts of an array or Rows in their order, a thousand rows or as many images as at_once() says.

    Args:
        what: name of the images; if given, progress is printed where there are many on the disk.
    """
    size = at_once(1000, array.shape[1:])
    is_slow = isinstance(array, Rows) and len(array) > MANY
    for start in range(0, len(array), size):
        yield np.ascontiguousarray(array[start : start + size])
        done = min(start + size, len(array))
        if what and is_slow and (done % 10_000 < size or done == len(array)):
            console.counter(done, len(array), what)
