"""Read a whole HDF5 file in a process of its own: python -m pipeline.models.h5_scan FILE.

The HDF5 library can crash, run for ever or take all memory on a file that was made or damaged to that
end, so a file is read here once, with limits, before any process that matters opens it. Prints one
line: empty where all is well, else what is wrong.
"""

import hashlib
import sys
from pathlib import Path

import h5py
import numpy as np

DIGEST = "sha256"  # root attribute with the digest of all else
MEMORY = 2 << 30  # bytes of address space, beside what is taken before the file is opened
SECONDS = 20  # of processor time
ATTRIBUTES = 8 << 20  # bytes of metadata; ResNet50 has 0.2 million
ARRAYS = 1 << 30  # bytes of numbers, unpacked; ResNet50 has 94 million
OBJECTS, DEPTH = 20_000, 20


class Refused(Exception):
    """A file that must not be opened; the message says what is wrong with it."""


class Reading:
    """SHA-256 of a file's content, `total`, whatever its layout on disk.

    Raises:
        Refused: the content refers to another file or to itself, is neither numbers nor text, or is more
            than a model of small images has.
    """

    def __init__(self, file: h5py.File):
        self.total = hashlib.sha256()
        self.objects = self.metadata = self.numbers = 0
        self.attributes(file)
        self.group(file, 0)

    def group(self, group: h5py.Group, depth: int) -> None:
        """Add a group's members, in the order of their names."""
        if depth > DEPTH:
            raise Refused("holds groups in a circle or too deep")
        for name in sorted(group):
            self.objects += 1
            if self.objects > OBJECTS:
                raise Refused("holds too many groups")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise Refused(f"holds a link, {name}, which can lead to another file")
            node = group[name]
            self.total.update(b"\0object " + node.name.encode())
            self.attributes(node)
            if isinstance(node, h5py.Group):
                self.group(node, depth + 1)
            elif isinstance(node, h5py.Dataset):
                self.array(node)
            else:
                raise Refused(f"holds {name}, neither a group nor numbers")

    def attributes(self, node) -> None:
        """Add a node's attributes, text and numbers; anything else, a pickle for example, is not read at all."""
        for name in sorted(node.attrs):
            if name == DIGEST and node.name == "/":
                continue
            kind = node.attrs.get_id(name).dtype
            if kind.kind not in "fiubS" and not h5py.check_string_dtype(kind):
                raise Refused(f"holds an attribute, {name}, that is neither a text nor a number")
            value = node.attrs[name]
            written = repr(value.tolist() if hasattr(value, "tolist") else value).encode()
            self.metadata += len(name) + len(written)
            if self.metadata > ATTRIBUTES:
                raise Refused("holds too much text")
            self.total.update(b"\0attribute " + name.encode() + b"\0" + written)

    def array(self, node: h5py.Dataset) -> None:
        """Add an array; it is read only if the file holds all of it or, compressed, if it is not too large."""
        if node.dtype.kind not in "fiub":
            raise Refused(f"holds an array, {node.name}, that is not of numbers")
        if node.external or node.is_virtual:
            raise Refused(f"holds an array, {node.name}, whose numbers are in another file")
        if not node.compression and node.nbytes > node.id.get_storage_size():
            raise Refused(f"declares more numbers in {node.name} than it holds")
        self.numbers += node.nbytes
        if self.numbers > ARRAYS:
            raise Refused("holds more numbers than a model of small images has")
        self.total.update(f"\0array {node.dtype.str}{node.shape}".encode())
        self.total.update(np.ascontiguousarray(node[()]))


def digest(file: h5py.File) -> str:
    """Hex SHA-256 of an open file's content, without the stored digest itself."""
    return Reading(file).total.hexdigest()


def main() -> None:
    """Print what is wrong with the file, if anything."""
    try:
        import resource

        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()  # 40 MB a core by NumPy
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):  # Windows, macOS: the time-out alone
        pass
    try:
        with h5py.File(sys.argv[1], "r") as file:
            found, stored = digest(file), file.attrs.get(DIGEST)
        print("has changed since it was saved" if stored is not None and stored != found else "")
    except Refused as error:
        print(error)
    except Exception:  # h5py has many for damage
        print("is damaged or not an HDF5 file")


if __name__ == "__main__":
    main()
