"""The user's own arrays, in npz, idx, csv or CIFAR-100's own form: read rightly, or refused in one line."""

import gzip
import io
import pickle
import tarfile

import numpy as np
import pytest

from pipeline.data import arrays, datasets, registry, sources
from pipeline.errors import UserError

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (60, 28, 28), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
LABELS = (np.arange(60) % 3).astype(np.uint8)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def npz(path, images=COLOR, labels=LABELS, n=45, **more):
    np.savez(path, x_train=images[:n], y_train=labels[:n], x_test=images[n:], y_test=labels[n:], **more)
    return str(path)


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.tobytes()


def csv(path, images, labels, head=True):
    rows = images.reshape(len(images), -1)
    lines = [",".join(["label", *(f"pixel{k}" for k in range(rows.shape[1]))])] if head and labels is not None else []
    if labels is None:
        lines = [",".join(f"pixel{k}" for k in range(rows.shape[1]))]
    for place, row in enumerate(rows):
        label = [] if labels is None else [labels[place]]
        lines.append(",".join(map(str, [*label, *row])))
    path.write_text("\n".join(lines) + "\n")


def test_an_npz_of_any_size_is_a_data_set_called_as_its_file_is(tmp_path):
    loaded = datasets.load(npz(tmp_path / "shells.npz"))
    assert (loaded.name, loaded.title, loaded.class_names) == ("shells.npz", "shells.npz", ("0", "1", "2"))
    np.testing.assert_array_equal(loaded.x_train, COLOR[:45])
    np.testing.assert_array_equal(loaded.y_test, LABELS[45:])
    assert set(loaded.sources) == {"shells.npz"}


def test_floats_from_0_to_1_and_a_missing_channel_axis_become_pixels(tmp_path):
    loaded = datasets.load(npz(tmp_path / "floats.npz", (GRAY / 255).astype(np.float32)))
    np.testing.assert_array_equal(loaded.x_train[..., 0], GRAY[:45])
    assert loaded.x_train.dtype == np.uint8


def test_labels_of_any_values_are_counted_from_0_and_named(tmp_path):
    loaded = datasets.load(npz(tmp_path / "a.npz", labels=LABELS * 10))
    assert loaded.class_names == ("0", "10", "20") and set(loaded.y_train) == {0, 1, 2}
    words = np.array(["red", "green", "blue"])
    loaded = datasets.load(npz(tmp_path / "b.npz", labels=words[LABELS]))
    assert loaded.class_names == ("blue", "green", "red")
    loaded = datasets.load(npz(tmp_path / "c.npz", class_names=words))
    assert loaded.class_names == ("red", "green", "blue")


@pytest.mark.parametrize(
    "change",
    [
        {"images": COLOR.astype(float) - 1},
        {"images": COLOR.astype(float) * 300},
        {"images": np.full((60, 8, 8), np.nan)},
        {"images": COLOR[..., :2]},
        {"images": COLOR[:, :2]},
        {"labels": LABELS[:50]},
        {"labels": LABELS * 0},
        {"labels": np.arange(60)},
    ],
    ids=["negative", "too bright", "NaN", "two channels", "flat", "too few labels", "one class", "new test classes"],
)
def test_an_npz_that_is_no_data_set_is_refused_by_name(tmp_path, change):
    with pytest.raises(UserError, match=r"bad\.npz"):
        datasets.load(npz(tmp_path / "bad.npz", **change))


def test_a_sound_file_that_is_too_large_is_called_so_and_not_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "LARGEST", 2 * 10**4)
    (tmp_path / "images-idx3-ubyte").write_bytes(idx(GRAY))
    with pytest.raises(UserError, match=r"x_train\.npy in .*large\.npz is larger than 0 MB; save .* pictures"):
        datasets.load(npz(tmp_path / "large.npz"))
    with pytest.raises(UserError, match="is larger than 0 MB"):
        arrays.read_idx(tmp_path / "images-idx3-ubyte")


@pytest.mark.parametrize("dash", ["-", "."])
@pytest.mark.parametrize("zipped", [True, False])
def test_four_idx_files_are_a_data_set(tmp_path, dash, zipped):
    for part, chosen in (("train", slice(45)), ("t10k", slice(45, 60))):
        for kind, array in (("images", GRAY[chosen]), ("labels", LABELS[chosen])):
            content = idx(array)
            name = f"{part}-{kind}{dash}idx{array.ndim}-ubyte" + (".gz" if zipped else "")
            (tmp_path / name).write_bytes(gzip.compress(content) if zipped else content)
    loaded = datasets.load(str(tmp_path))
    np.testing.assert_array_equal(loaded.x_train[..., 0], GRAY[:45])
    np.testing.assert_array_equal(loaded.y_test, LABELS[45:])
    assert len(loaded.sources) == 4


def test_emnists_images_are_turned_upright(tmp_path):
    for part, chosen in (("train", slice(45)), ("test", slice(45, 60))):
        (tmp_path / f"emnist-letters-{part}-images-idx3-ubyte").write_bytes(idx(GRAY[chosen].swapaxes(1, 2).copy()))
        (tmp_path / f"emnist-letters-{part}-labels-idx1-ubyte").write_bytes(idx(LABELS[chosen]))
    np.testing.assert_array_equal(datasets.load(str(tmp_path)).x_train[..., 0], GRAY[:45])


@pytest.mark.parametrize("content", [b"", b"\0\0\x08", b"\0\0\x08\xff", idx(GRAY)[:-1], b"text", idx(GRAY) + b"x"])
def test_damaged_idx_files_are_refused_by_name(tmp_path, content):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(UserError, match="train-images"):
        arrays.read_idx(tmp_path / "train-images-idx3-ubyte")


@pytest.mark.parametrize("head", [True, False])
def test_csv_files_with_labels_are_a_data_set(tmp_path, head):
    csv(tmp_path / "train.csv", GRAY[:45], LABELS[:45], head)
    csv(tmp_path / "test.csv", GRAY[45:], LABELS[45:], head)
    loaded = datasets.load(str(tmp_path))
    np.testing.assert_array_equal(loaded.x_train[..., 0], GRAY[:45])
    np.testing.assert_array_equal(loaded.y_test, LABELS[45:])


@pytest.mark.parametrize("head", [True, False])
def test_a_csv_files_labels_may_be_names_and_none_may_be_missing(tmp_path, head):
    names = np.array(["cat", "dog", "fox"])[LABELS].tolist()
    csv(tmp_path / "pets.csv", GRAY, names, head)
    loaded = datasets.load(str(tmp_path / "pets.csv"))
    assert loaded.class_names == ("cat", "dog", "fox") and len(loaded.x_train) + len(loaded.x_test) == 60
    csv(tmp_path / "few.csv", GRAY, ["", *names[1:]], head)
    with pytest.raises(UserError, match=r"few\.csv has rows without a label .* 1 in all"):
        datasets.load(str(tmp_path / "few.csv"))


def test_kaggles_test_file_without_labels_is_no_test_part(tmp_path, capsys):
    csv(tmp_path / "train.csv", GRAY, LABELS)
    csv(tmp_path / "test.csv", GRAY[:9], None)
    loaded = datasets.load(str(tmp_path))
    assert (len(loaded.x_train), len(loaded.x_test)) == (48, 12) and set(np.bincount(loaded.y_test)) == {4}
    said = capsys.readouterr().out
    assert "test.csv" in said and "stratified" in said and "stratified" in loaded.notes["test_part"]


def test_colors_in_csv_files_may_come_by_plane_or_by_pixel():
    ramp = np.linspace(0, 200, 32).astype(np.uint8)
    images = np.stack([np.tile(ramp, (32, 1)), np.tile(ramp[:, None], (1, 32)), np.full((32, 32), 255)], axis=-1)
    images = np.repeat(images[None].astype(np.uint8), 4, axis=0)
    np.testing.assert_array_equal(arrays._color(images.reshape(4, -1)), images)
    np.testing.assert_array_equal(arrays._color(images.transpose(0, 3, 1, 2).reshape(4, -1)), images)


def test_what_is_no_data_set_is_refused_with_what_was_found_and_what_would_do(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("text")
    with pytest.raises(UserError, match=r"holds dear\.txt.*a folder of pictures for each class"):
        datasets.load(str(tmp_path / "letters"))
    with pytest.raises(UserError, match="choose from mnist"):
        datasets.load("imagenet")
    (tmp_path / "mnist").mkdir()
    with pytest.raises(UserError, match="rename it"):
        datasets.load(str(tmp_path / "mnist"))


def fashion(path, labels=(9, 0, 0, 3, 0, 2, 7, 2, 5, 5)):
    y = np.resize(np.uint8([*labels, *range(10)]), 60000)
    images = np.zeros((60000, 28, 28), np.uint8)
    np.savez(path, x_train=images, y_train=y, x_test=images[:10000], y_test=y[10:10010])


def test_a_file_called_mnist_npz_is_told_by_its_content(tmp_path):
    fashion(tmp_path / "mnist.npz")
    with pytest.raises(UserError, match=r"mnist\.npz holds Fashion-MNIST.*--dataset fashion-mnist"):
        datasets.load("mnist", str(tmp_path))
    fashion(tmp_path / "mnist.npz", registry.SOURCES["mnist"].first_labels)
    with pytest.raises(UserError, match=r"mnist\.npz holds other images"):
        datasets.load("mnist", str(tmp_path))
    fashion(tmp_path / "fashion-mnist.npz")
    assert datasets.load("fashion-mnist", str(tmp_path)).class_names[9] == "ankle boot"


def as_python_2(data):
    """A pickle as CIFAR's makers wrote it: protocol 2, arrays by NumPy's old names, bytes as Python 2's strings."""
    items = []
    for key, value in data.items():
        items.append(text(key.encode()) + (array(value) if isinstance(value, np.ndarray) else plain(value)))
    return b"\x80\x02}(" + b"".join(items) + b"u."


def text(value):
    return b"T" + len(value).to_bytes(4, "little") + value


def plain(value):
    return pickle.dumps(value, 2)[2:-1]


def array(value):
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return made + b"(K\x01" + plain(value.shape) + kind + b"\x89" + text(value.tobytes()) + b"tb"


@pytest.mark.parametrize("form", ["tar.gz", "tar", "folder", "top"])
def test_cifar_100_in_its_python_form_is_the_same_data_set(tmp_path, monkeypatch, form):
    monkeypatch.setattr(sources, "CIFAR_PARTS", {"train": 30, "test": 10})
    images, fine = RNG.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8), RNG.integers(0, 100, 40)
    coarse = fine // 5
    contents = {}
    for part, chosen in (("train", slice(30)), ("test", slice(30, 40))):
        pixels = images[chosen].transpose(0, 3, 1, 2).reshape(-1, 3072).copy()
        labels = {"coarse_labels": coarse[chosen].tolist(), "fine_labels": fine[chosen].tolist()}
        contents[part] = as_python_2({"filenames": ["a.png"] * len(pixels), "data": pixels, **labels})
    if form.startswith("tar"):
        with tarfile.open(tmp_path / f"cifar-100-python.{form}", "w:gz" if form == "tar.gz" else "w") as packed:
            for name, content in contents.items():
                member = tarfile.TarInfo(f"cifar-100-python/{name}")
                member.size = len(content)
                packed.addfile(member, io.BytesIO(content))
    else:
        place = tmp_path if form == "top" else tmp_path / "cifar-100-python"
        place.mkdir(exist_ok=True)
        for name, content in contents.items():
            (place / name).write_bytes(content)
    loaded = datasets.load("cifar100", str(tmp_path))
    np.testing.assert_array_equal(loaded.x_train, images[:30])
    np.testing.assert_array_equal(loaded.y_test, coarse[30:])
    np.testing.assert_array_equal(loaded.fine_train, fine[:30])
