"""CIFAR's Python form: pickles read without running any code of theirs.

Arrays of bytes, texts, whole numbers, lists and dicts are built, and nothing else: the operations are checked one by
one before, and the two names that an array's pickle asks for stand for classes of this module, never for NumPy's.
"""

import io
import math
import pickle
import pickletools

import numpy as np

# Operations of pickles of plain data and arrays.
ALLOWED = frozenset(
    {
        "PROTO",
        "STOP",
        "MARK",
        "POP",
        "FRAME",
        "NONE",
        "NEWTRUE",
        "NEWFALSE",
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINBYTES",
        "SHORT_BINBYTES",
        "EMPTY_TUPLE",
        "TUPLE",
        "TUPLE1",
        "TUPLE2",
        "TUPLE3",
        "EMPTY_LIST",
        "LIST",
        "APPEND",
        "APPENDS",
        "EMPTY_DICT",
        "DICT",
        "SETITEM",
        "SETITEMS",
        "PUT",
        "BINPUT",
        "LONG_BINPUT",
        "MEMOIZE",
        "GET",
        "BINGET",
        "LONG_BINGET",
        "GLOBAL",
        "REDUCE",
        "BUILD",
    }
)
PUT = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
MOST = 10**6  # operations and numbered objects, far more than CIFAR's 50,000 file names need


class _Kind:
    """Stands for numpy.dtype: only bytes are let through."""

    def __init__(self, code, *_):
        self.code = code

    def __setstate__(self, state):
        pass


class _Array:
    """Stands for an array under construction; `value` is the array."""

    value: np.ndarray | None = None

    def __setstate__(self, state):
        _, shape, kind, by_columns, raw = state
        if isinstance(raw, str):  # Python 2 knew no difference
            raw = raw.encode("latin-1")
        if not isinstance(kind, _Kind) or kind.code != "u1" or not isinstance(raw, bytes):
            raise pickle.UnpicklingError("it has an array that is not of bytes")
        if math.prod(shape) != len(raw):
            raise pickle.UnpicklingError("it has an array of another size than it declares")
        self.value = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if by_columns else "C")


def _new_array(*_):
    return _Array()


NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _new_array,
    ("numpy._core.multiarray", "_reconstruct"): _new_array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module, name):
        try:
            return NAMES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def read(content: bytes) -> dict:
    """A pickled dict with text keys; arrays in it are uint8.

    Args:
        content: the file, of a size that the caller has checked.
    Raises:
        ValueError: damaged, or anything but plain data.
    """
    try:
        for number, (operation, argument, _) in enumerate(pickletools.genops(content)):
            if operation.name not in ALLOWED:
                raise ValueError(f"it has the operation {operation.name}")
            if number > MOST or (operation.name in PUT and int(argument) > MOST):
                raise ValueError("it has too many objects")
        found = _Reader(io.BytesIO(content), encoding="latin-1").load()
    except ValueError:
        raise
    except Exception as error:  # a damaged pickle raises almost anything
        raise ValueError(str(error) or type(error).__name__) from error
    if not isinstance(found, dict):
        raise ValueError("it holds no dict")
    return {str(key): value.value if isinstance(value, _Array) else value for key, value in found.items()}
