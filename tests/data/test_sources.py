"""Real data files, made up here: decoded rightly, or refused in one line that says which file."""

import dataclasses
import functools
import inspect
import io
import tarfile

import numpy as np
import pytest

from pipeline import atomic_io
from pipeline.backend import keras
from pipeline.data import datasets, registry, sources
from pipeline.errors import UserError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder that $DATA_DIR names; nobody's real data are in reach, and no earlier download."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def change(monkeypatch, name, **facts):
    monkeypatch.setitem(registry.SOURCES, name, dataclasses.replace(registry.SOURCES[name], **facts))


@pytest.fixture(autouse=True)
def made_up_mnist(monkeypatch):
    """The registry knows the content of MNIST; here it is what arrays() makes up."""
    made_up = {key: value.astype(np.int64) if key[0] == "y" else value for key, value in arrays().items()}
    change(monkeypatch, "mnist", sha256=sources.digest(made_up), first_labels=tuple(range(10)))


@pytest.fixture
def default_folders(folder, monkeypatch):
    """Neither --data-dir nor $DATA_DIR is given, and what is looked in then is empty."""
    monkeypatch.delenv("DATA_DIR")
    monkeypatch.setattr(sources, "DEFAULT", (folder, folder))


@functools.cache
def arrays():
    return changed_arrays()


def changed_arrays(**changed):
    x_train, x_test = np.zeros((60000, 28, 28), np.uint8), np.zeros((10000, 28, 28), np.uint8)
    x_train[0, 3, 5], x_test[9999, 27, 0] = 200, 100
    y_train, y_test = np.arange(60000, dtype=np.uint8) % 10, np.arange(10000, dtype=np.uint8) % 10
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test, **changed}


@pytest.fixture(scope="module")
def whole_mnist(tmp_path_factory):
    path = tmp_path_factory.mktemp("mnist") / "mnist.npz"
    np.savez_compressed(path, **arrays())
    return path.read_bytes()


def test_mnist_gets_a_channel_axis_integer_labels_and_a_fingerprint(folder, whole_mnist):
    (folder / "mnist.npz").write_bytes(whole_mnist)
    mnist = datasets.load("mnist")
    assert mnist.x_train.shape == (60000, 28, 28, 1) and mnist.x_test.shape == (10000, 28, 28, 1)
    assert mnist.x_train[0, 3, 5, 0] == 200 and mnist.x_test[9999, 27, 0, 0] == 100
    assert mnist.y_train.dtype == np.int64 and list(mnist.y_test[:12]) == [*range(10), 0, 1]
    assert mnist.class_names == tuple("0123456789")
    assert mnist.sources == {"mnist.npz": atomic_io.sha256(folder / "mnist.npz")}


def test_a_data_dir_comes_before_the_environment(folder, whole_mnist, tmp_path_factory):
    (folder / "mnist.npz").write_bytes(b"the wrong one")
    other = tmp_path_factory.mktemp("other")
    (other / "mnist.npz").write_bytes(whole_mnist)
    assert datasets.load("mnist", str(other)).name == "mnist"


def missing_key(path, whole):
    np.savez(path, x_train=np.zeros(3), y_train=np.zeros(3))


def one_array(path, whole):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


def damaged_inside(path, whole):
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])


DAMAGE = {
    "truncated": lambda path, whole: path.write_bytes(whole[: len(whole) // 2]),
    "empty": lambda path, whole: path.write_bytes(b""),
    "text": lambda path, whole: path.write_text("not found"),
    "missing key": missing_key,
    "one array": one_array,
    "damaged inside": damaged_inside,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_mnist_file_is_bad_input(folder, whole_mnist, damage):
    damage(folder / "mnist.npz", whole_mnist)
    with pytest.raises(UserError, match=r"mnist\.npz"):
        datasets.load("mnist")


def record(coarse, fine, image):
    return bytes([coarse, fine]) + image.transpose(2, 0, 1).tobytes()


def test_cifar_records_hold_a_coarse_label_a_fine_label_and_three_planes():
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    raw = record(3, 77, images[0]) + record(19, 99, images[1])
    decoded, labels = sources.cifar_records(raw, "hand-made", 2)
    np.testing.assert_array_equal(decoded, images)
    assert decoded.dtype == np.uint8 and labels.dtype == np.int64
    np.testing.assert_array_equal(labels, [[3, 77], [19, 99]])


@pytest.mark.parametrize(
    "raw",
    [
        record(3, 77, np.zeros((32, 32, 3), np.uint8))[:-1],
        record(3, 77, np.zeros((32, 32, 3), np.uint8)) + b"x",
        b"",
        record(20, 77, np.zeros((32, 32, 3), np.uint8)),
        record(3, 100, np.zeros((32, 32, 3), np.uint8)),
    ],
    ids=["a byte short", "a byte too many", "empty", "coarse label 20", "fine label 100"],
)
def test_cifar_records_that_are_not_whole_or_out_of_range_are_bad_input(raw):
    with pytest.raises(UserError, match="hand-made"):
        sources.cifar_records(raw, "hand-made", 1)


def archive(path, contents):
    with tarfile.open(path, "w:gz", compresslevel=1) as file:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"cifar-100-binary/{name}")
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-1000])


def overwritten(path):
    content = path.read_bytes()
    path.write_bytes(content[:2000] + bytes(range(256)) + content[2256:])


@pytest.mark.parametrize(
    ("sizes", "damage"),
    [
        ({"train.bin": 50000 * 3074, "test.bin": 10000 * 3074}, cut_short),
        ({"train.bin": 50000 * 3074, "test.bin": 10000 * 3074}, overwritten),
        ({"train.bin": 3074, "test.bin": 3074}, None),
        ({"readme.txt": 5}, None),
        ({}, lambda path: path.write_text("not found")),
    ],
    ids=["truncated", "damaged inside", "too few records", "another archive", "text"],
)
def test_a_damaged_cifar_archive_is_bad_input(folder, sizes, damage):
    path = folder / "cifar-100-binary.tar.gz"
    archive(path, {name: bytes(size) for name, size in sizes.items()})
    if damage:
        damage(path)
    with pytest.raises(UserError, match=r"cifar-100-binary\.tar\.gz"):
        datasets.load("cifar100")


def test_an_unpacked_cifar_folder_without_its_files_is_bad_input(folder):
    (folder / "cifar-100-binary").mkdir()
    with pytest.raises(UserError, match=r"train\.bin"):
        datasets.load("cifar100")


def test_a_data_folder_that_does_not_exist_is_bad_input(folder, monkeypatch):
    with pytest.raises(UserError, match="elsewhere"):
        datasets.load("mnist", str(folder / "elsewhere"))
    monkeypatch.setenv("DATA_DIR", str(folder / "nowhere"))
    with pytest.raises(UserError, match="nowhere"):
        datasets.load("cifar100")


@pytest.mark.parametrize(
    ("name", "file", "way_out"),
    [("mnist", "mnist.npz", "--dataset digits"), ("cifar100", "cifar-100-binary.tar.gz", "--dataset synthetic")],
)
def test_no_file_and_no_network_is_bad_input_with_a_way_out(folder, default_folders, monkeypatch, name, file, way_out):
    def unreachable(*_, **__):
        raise TimeoutError("The read operation timed out")

    monkeypatch.setattr(keras.utils, "get_file", unreachable)
    with pytest.raises(UserError, match="timed out") as refused:
        datasets.load(name)
    message = str(refused.value)
    assert file in message and way_out in message and str(folder) in message and "\n" not in message


def test_the_same_images_and_labels_have_the_same_hash_from_the_archive_the_folder_and_a_download(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(sources, "CIFAR_PARTS", {"train": 50, "test": 10})
    train, test = bytearray(50 * 3074), bytearray(10 * 3074)
    train[3074 * 7 : 3074 * 7 + 5] = test[-5:] = bytes([3, 77, 1, 2, 3])
    contents = {"train.bin": train, "test.bin": test}
    packed = folder / "cifar-100-binary.tar.gz"
    archive(packed, contents)
    unpacked = tmp_path / "other" / "cifar-100-binary"
    unpacked.mkdir(parents=True)
    for name, content in contents.items():
        (unpacked / name).write_bytes(content)
    (tmp_path / "empty").mkdir()
    whole = atomic_io.sha256(packed)
    change(monkeypatch, "cifar100", downloads=((packed.as_uri(), whole),))

    found = [datasets.load("cifar100", str(tmp_path / name)) for name in ("data", "other")]
    monkeypatch.delenv("DATA_DIR")
    monkeypatch.setattr(sources, "DEFAULT", (tmp_path / "empty",))
    found.append(datasets.load("cifar100"))
    assert len({dataset.sha256 for dataset in found}) == 1
    assert found[0].sources == found[2].sources == {packed.name: whole}
    assert found[1].sources == {name: atomic_io.sha256(unpacked / name) for name in contents}
    assert (found[2].y_train[7], found[2].fine_train[7]) == (3, 77)
    np.testing.assert_array_equal(found[2].x_train[7, 0, :4, 0], [1, 2, 3, 0])


def test_a_downloaded_mnist_is_the_file_that_keras_keeps_and_needs_no_network_the_next_time(
    folder, tmp_path, monkeypatch, whole_mnist
):
    origin = tmp_path / "mnist.npz"
    origin.write_bytes(whole_mnist)
    change(monkeypatch, "mnist", downloads=((origin.as_uri(), atomic_io.sha256(origin)),))
    monkeypatch.setattr(sources, "DEFAULT", (folder,))
    (_, files) = sources.read("mnist", [folder])
    origin.unlink()
    cached = tmp_path / "keras" / "datasets" / "mnist.npz"
    assert files == {"mnist.npz": atomic_io.sha256(cached)} == sources.read("mnist", [folder])[1]


def test_downloads_are_where_keras_has_them_and_checked_as_keras_does():
    for name, module in (("mnist", "mnist"), ("fashion-mnist", "fashion_mnist"), ("cifar10", "cifar10")):
        loader = inspect.getsource(getattr(keras.datasets, module).load_data)
        for url, file_hash in registry.SOURCES[name].downloads:
            assert url.rpartition("/")[0] in loader
            assert file_hash in loader or len(file_hash) == 32, "Keras checks no hash of Fashion-MNIST"
