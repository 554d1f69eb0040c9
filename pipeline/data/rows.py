"""Images in a file on the disk, read where they are asked for: for data sets that would fill the memory."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np


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
            if isinstance(first, (int, np.integer)):
                return self[first][tuple(rest)]
            return self[first][(slice(None), *rest)]
        chosen = self.places[key]
        images = self._read(np.atleast_1d(chosen))
        return images if chosen.ndim else images[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[k] for k in range(len(self)))

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
