"""Registry of the named data sets: every fact about one of them has its home here. Needs no Keras."""

from dataclasses import dataclass, replace

from pipeline.data.cifar100_labels import CIFAR100_COARSE, CIFAR100_FINE
from pipeline.data.toy import SYNTHETIC_NAMES

DIGIT_NAMES = tuple("0123456789")
FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
TORONTO = "https://www.cs.toronto.edu/~kriz/"


@dataclass(frozen=True)
class Source:
    """A named data set.

    name: value of --dataset; title: in plots, says so where the data are toy data.
    class_names: in label order.
    digits: white digits on black, centered; pictures of digits are laid out so before a model sees them.
    on_black: light things on black, digits among them.
    toy: needs no file and no network.
    instead: the toy data set for the same scripts.
    files: what a data folder may hold it as, for the error where it holds nothing.
    downloads: (URL, published MD5 or SHA-256) of each file; subfolder: of Keras' cache.
    sha256: of the decoded arrays, see Dataset.sha256; "" where it is not known.
    first_labels: of the training images, by which data sets of one shape are told apart; () where not needed.
    shape, layout, about, limits: what a model card says of it.
    """

    name: str
    title: str
    class_names: tuple[str, ...]
    digits: bool = False
    on_black: bool = False
    toy: bool = False
    instead: str = ""
    files: tuple[str, ...] = ()
    downloads: tuple[tuple[str, str], ...] = ()
    subfolder: str = "datasets"
    sha256: str = ""
    first_labels: tuple[int, ...] = ()
    shape: str = ""
    layout: str = ""
    about: str = ""
    limits: str = ""


_ALL = (
    Source(
        "mnist",
        "MNIST",
        DIGIT_NAMES,
        digits=True,
        on_black=True,
        instead="digits",
        files=("mnist.npz", "MNIST's four IDX files", "mnist_train.csv and mnist_test.csv"),
        downloads=((KERAS + "mnist.npz", "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"),),
        sha256="1e35582d42a90940c55b956deb61875c020b567ed20e3c5b174f52bf7809ed9b",
        first_labels=(5, 0, 4, 1, 9, 2, 1, 3, 1, 4),
        shape="(n, 28, 28, 1)",
        layout="gray, one light digit on black, centered as in MNIST",
        about="MNIST (LeCun, Cortes and Burges): handwritten digits, of one size and centered by their mass",
        limits="""\
- `predict.py` and the page lay out an image as MNIST's digits are; a program of your own has to do it itself.
- MNIST's writers were employees of the US Census Bureau and high-school students. Other ways to write a digit may be
  rare or missing, and no metric here is by writer.""",
    ),
    Source(
        "cifar100",
        "CIFAR-100, 20 superclasses",
        CIFAR100_COARSE,
        instead="synthetic",
        files=("cifar-100-binary.tar.gz", "cifar-100-python.tar.gz", "either of them unpacked"),
        downloads=(
            (
                TORONTO + "cifar-100-binary.tar.gz",
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            ),
        ),
        sha256="adb624c53e1300c061cc0ff28d479edf910986cb6dae1c4eaa27fa2a9293349a",
        shape="(n, 32, 32, 3)",
        layout="red, green, blue",
        about="CIFAR-100 (Krizhevsky 2009) with its 20 coarse labels: small color photographs of one thing each",
        limits="""\
- A photograph is shrunk to 32×32 pixels; what is small in it is lost.
- The classes are the data set's: vehicles 1 and 2 are one kind of thing split in two, and mammals are told apart by
  size, food or habitat.
- CIFAR-100 is a part of the 80 Million Tiny Images, which were gathered from the web automatically and withdrawn by
  their makers in 2020 because of offensive labels and images. One class is people: the model is not made to find,
  count or sort people.""",
    ),
    Source("digits", "8x8 digits (toy data, not MNIST)", DIGIT_NAMES, digits=True, on_black=True, toy=True),
    Source("synthetic", "synthetic shapes (toy data, not CIFAR-100)", SYNTHETIC_NAMES, toy=True),
    Source(
        "fashion-mnist",
        "Fashion-MNIST",
        FASHION,
        on_black=True,
        instead="digits",
        files=("fashion-mnist.npz", "its four IDX files", "fashion-mnist_train.csv and fashion-mnist_test.csv"),
        # The sums that its makers publish; Keras checks none.
        downloads=(
            (KERAS + "train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            (KERAS + "train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
            (KERAS + "t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
            (KERAS + "t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
        subfolder="datasets/fashion-mnist",
        first_labels=(9, 0, 0, 3, 0, 2, 7, 2, 5, 5),
        shape="(n, 28, 28, 1)",
        layout="gray, one light piece of clothing on black",
        about="Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): gray catalog pictures of clothing",
        limits="- The images are pictures of one shop's catalog, one piece each on a black background.",
    ),
    Source(
        "cifar10",
        "CIFAR-10",
        CIFAR10,
        instead="synthetic",
        files=("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz", "either of them unpacked"),
        downloads=(
            (TORONTO + "cifar-10-python.tar.gz", "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"),
        ),
        shape="(n, 32, 32, 3)",
        layout="red, green, blue",
        about="CIFAR-10 (Krizhevsky 2009): small color photographs of one animal or vehicle each",
        limits="- A photograph is shrunk to 32×32 pixels; what is small in it is lost.",
    ),
)
SOURCES = {source.name: source for source in _ALL}
SOURCES["cifar100-fine"] = replace(
    SOURCES["cifar100"],
    name="cifar100-fine",
    title="CIFAR-100, 100 classes",
    class_names=CIFAR100_FINE,
    about="CIFAR-100 (Krizhevsky 2009) with its 100 fine labels: small color photographs of one thing each",
)


def is_toy(name: str) -> bool:
    """Whether a data set is toy data; one of the user's own is not."""
    return name in SOURCES and SOURCES[name].toy


def is_digits(name: str | None) -> bool:
    """Whether a data set is known to hold white digits on black."""
    return name in SOURCES and SOURCES[name].digits


def title(name: str) -> str:
    """Name of a data set for plots; the user's own is called as its file or folder is."""
    return SOURCES[name].title if name in SOURCES else name
