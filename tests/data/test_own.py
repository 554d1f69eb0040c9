"""Data sets of the user's own in every usual form: read rightly, or refused in one line that says what would do."""

import gzip
import io
import pickle
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pipeline.config import RunConfig
from pipeline.data import arrays, datasets, folder, pictures, registry, rows, sources
from pipeline.data.rows import Rows
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


def picture(path, color, size=(40, 30), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.clip(RNG.normal(color, 20, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)


COLORS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220)}


@pytest.fixture
def by_class(tmp_path):
    for name, color in COLORS.items():
        for k in range(10):
            picture(tmp_path / "paints" / name / f"{k}.png", color)
    return tmp_path / "paints"


def test_a_folder_of_pictures_is_a_data_set_with_its_folders_as_classes(by_class, capsys):
    loaded = datasets.load(str(by_class), shape=(24, 24, None))
    assert (loaded.name, loaded.class_names) == ("paints", ("blue", "green", "red"))
    assert loaded.x_train.shape == (24, 24, 24, 3) and len(loaded.x_test) == 6
    brightest = loaded.x_train.mean(axis=(1, 2)).argmax(axis=1)
    np.testing.assert_array_equal(brightest, 2 - loaded.y_train)
    assert "stratified" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["test", "val", "valid"])
def test_a_folder_with_its_own_test_part_keeps_it(by_class, tmp_path, name):
    (tmp_path / "split").mkdir()
    by_class.rename(tmp_path / "split" / "train")
    for color in COLORS:
        picture(tmp_path / "split" / name / color / "a.jpg", COLORS[color])
    loaded = datasets.load(str(tmp_path / "split"))
    assert (len(loaded.x_train), len(loaded.x_test), loaded.notes["test_part"]) == (30, 3, f"{name}/")


def test_a_test_part_may_lie_beside_the_classes(by_class):
    for color in COLORS:
        picture(by_class / "test" / color / "a.jpg", COLORS[color])
    loaded = datasets.load(str(by_class))
    assert loaded.class_names == ("blue", "green", "red")
    assert (len(loaded.x_train), len(loaded.x_test), loaded.notes["test_part"]) == (30, 3, "test/")


def test_a_class_may_be_called_train(by_class):
    (by_class / "red").rename(by_class / "train")
    assert datasets.load(str(by_class)).class_names == ("blue", "green", "train")


@pytest.mark.parametrize("name", ["test", "Valid"])
def test_pictures_without_a_class_beside_the_classes_are_no_class_of_their_own(by_class, name):
    picture(by_class / name / "a.png", (90, 90, 90))
    with pytest.raises(UserError, match=f"paints/{name} holds pictures beside .* move it .* rename it"):
        datasets.load(str(by_class))


def test_a_folder_of_parts_without_classes_is_no_data_set(by_class):
    (by_class / "red").rename(by_class / "train")
    (by_class / "blue").rename(by_class / "test")
    (by_class / "green").rename(by_class.parent / "green")
    with pytest.raises(UserError, match="is no data set: it holds test, train"):
        datasets.load(str(by_class))


def test_unreadable_files_are_skipped_counted_and_named(by_class, capsys, monkeypatch):
    (by_class / "red" / "broken.png").write_bytes(b"\x89PNG")
    (by_class / "red" / "notes.txt").write_text("text")
    (by_class / "red" / ".DS_Store").write_text("litter")
    (by_class / "red" / "phone.heic").write_bytes(b"none")
    monkeypatch.setattr(folder.pictures, "formats", lambda: ("PNG",))
    loaded = datasets.load(str(by_class))
    said = capsys.readouterr().err
    assert loaded.notes["skipped_files"] == 3
    assert all(name in said for name in ("red/broken.png", "red/notes.txt", "red/phone.heic", "pillow-heif"))
    assert ".DS_Store" not in said


def test_a_folder_of_gray_pictures_has_one_channel_and_colors_become_gray_where_a_model_wants_it(tmp_path):
    for k in range(20):
        picture(tmp_path / "gray" / "ab"[k % 2] / f"{k}.png", (90, 90, 90), mode="L")
    assert datasets.load(str(tmp_path / "gray")).image_shape == (32, 32, 1)
    picture(tmp_path / "gray" / "a" / "color.png", (200, 0, 0))
    assert datasets.load(str(tmp_path / "gray"), shape=(28, 28, None)).image_shape == (28, 28, 3)
    assert datasets.load(str(tmp_path / "gray"), shape=(28, 28, 1)).image_shape == (28, 28, 1)


@pytest.mark.parametrize("in_memory", [folder.IN_MEMORY, 0])
def test_a_second_run_takes_the_decoded_copy_until_a_file_changes(by_class, monkeypatch, in_memory):
    opened = []
    usual = folder.pictures.opened
    monkeypatch.setattr(folder.pictures, "opened", lambda *args: opened.append(args) or usual(*args))
    monkeypatch.setattr(folder, "IN_MEMORY", in_memory)
    places = (by_class,)
    first = datasets._decode(str(by_class), places)
    assert len(opened) == 30
    again = datasets._decode(str(by_class), places)
    assert len(opened) == 30 and again.sha256 == first.sha256
    picture(by_class / "red" / "0.png", (0, 0, 0))
    assert datasets._decode(str(by_class), places).sha256 != first.sha256 and len(opened) == 60
    for copy in (by_class.parent / "cache").rglob("*.*"):
        if copy.suffix != ".json":
            copy.write_bytes(b"damaged")
    datasets._decode(str(by_class), places)
    assert len(opened) == 90


@pytest.mark.parametrize("channels", [None, 1])
def test_pictures_that_would_fill_the_memory_stay_on_the_disk_and_are_the_same(by_class, monkeypatch, channels):
    shape, config = (24, 24, channels), RunConfig(dataset=str(by_class), limit=12, validation=0.2)
    in_memory = datasets.prepare(config, shape)
    monkeypatch.setattr(folder, "IN_MEMORY", 0)
    on_disk = datasets.prepare(config, shape)
    assert on_disk.sha256 == in_memory.sha256 and on_disk.image_shape == in_memory.image_shape
    for part in ("x_train", "x_validation", "x_test"):
        stored, array = getattr(on_disk, part), getattr(in_memory, part)
        assert isinstance(stored, Rows) and not isinstance(array, Rows)
        np.testing.assert_array_equal(stored, array)
        np.testing.assert_array_equal(stored[[2, 0]], array[[2, 0]])
        np.testing.assert_array_equal(stored[1:3, :, ::-1], array[1:3, :, ::-1])
        np.testing.assert_array_equal(stored[-1], array[-1])
        np.testing.assert_array_equal(stored[[[2, 0], [1, 1]]], array[[[2, 0], [1, 1]]])
        np.testing.assert_array_equal(stored[[[2, 0], [1, 1]], 5], array[[[2, 0], [1, 1]], 5])
        np.testing.assert_array_equal(stored[0, 3], array[0, 3])
        np.testing.assert_array_equal(stored[np.arange(len(stored)) > 1], array[2:])
    shrunk = datasets.shrink(on_disk, 2)
    np.testing.assert_array_equal(shrunk.x_test, in_memory.x_test[:2])


def test_many_pictures_on_the_disk_are_read_in_parts_with_progress(by_class, monkeypatch, capsys):
    monkeypatch.setattr(folder, "IN_MEMORY", 0)
    monkeypatch.setattr(rows, "MANY", 20)
    read, usual = [], Rows._read
    monkeypatch.setattr(Rows, "_read", lambda self, places: read.append(len(places)) or usual(self, places))
    datasets._decode(str(by_class), (by_class,))
    assert max(read) == 30 and len(read) == 5, "colors, twice for comparing and twice for hashing"
    said = capsys.readouterr().out
    assert all(f"24 of 24 images {done}" in said for done in ("compared", "hashed"))


def test_large_images_are_read_fewer_at_once_and_small_ones_as_ever():
    sizes = {side: rows.at_once(500, (side, side, 3)) for side in (28, 32, 64, 512, 1024)}
    assert sizes == {28: 500, 32: 500, 64: 125, 512: 1, 1024: 1}
    assert rows.at_once(5000, (512, 512, 3), fewest=100) == 100 and rows.at_once(500, (2048,)) == 500
    parts = [len(part) for part in rows.chunks(np.zeros((600, 64, 64, 1), np.uint8))]
    assert parts == [250, 250, 100]


@pytest.mark.parametrize("suffix", ["heic", "avif"])
def test_pictures_of_phones_are_read_where_a_reader_is_installed(tmp_path, suffix):
    if suffix == "heic":
        pytest.importorskip("pillow_heif", reason='optional: pip install -e ".[heif]"')
    elif "AVIF" not in pictures.formats():
        pytest.skip("this Pillow reads no AVIF")
    pictures.formats()
    for k in range(12):
        picture(tmp_path / "phone" / "ab"[k % 2] / f"{k}.{suffix}", (200, 40 + 100 * (k % 2), 30))
    loaded = datasets.load(str(tmp_path / "phone"))
    assert loaded.notes["skipped_files"] == 0 and loaded.class_names == ("a", "b")
    read = pictures.read(tmp_path / "phone" / "a" / f"0.{suffix}", (8, 8, 3))
    np.testing.assert_allclose(read.mean(axis=(0, 1)), (200, 40, 30), atol=12)


def test_a_file_of_another_format_among_many_is_named(tmp_path, capsys):
    for k in range(30):
        picture(tmp_path / "photos" / "ab"[k % 2] / f"{k}.{('jpg', 'jpeg')[k % 3 == 0]}", (k, 2 * k, 90))
    picture(tmp_path / "photos" / "a" / "not found.gif", (0, 0, 0))
    datasets.load(str(tmp_path / "photos"))
    said = capsys.readouterr().out
    assert "30 of 31" in said and "a/not found.gif" in said


def test_a_photo_is_turned_by_its_exif_note(tmp_path):
    image = Image.new("RGB", (40, 40), "white")
    image.paste("black", (0, 0, 40, 20))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    for k in range(12):
        path = tmp_path / "photos" / "ab"[k % 2] / f"{k}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, exif=exif)
    loaded = datasets.load(str(tmp_path / "photos"))
    assert loaded.x_train[0, 2].mean() > 200 > 60 > loaded.x_train[0, -2].mean()


def test_test_images_that_are_training_images_are_counted(by_class, tmp_path, capsys):
    (tmp_path / "split").mkdir()
    by_class.rename(tmp_path / "split" / "train")
    copied = tmp_path / "split" / "test" / "red" / "other name.png"
    copied.parent.mkdir(parents=True)
    copied.write_bytes((tmp_path / "split" / "train" / "red" / "3.png").read_bytes())
    loaded = datasets.load(str(tmp_path / "split"))
    assert loaded.notes["test_images_in_training"] == 1 and "1 of 1 test images" in capsys.readouterr().out


def test_unbalanced_classes_are_said_with_the_remedy(by_class, capsys):
    for k in range(4):
        (by_class / "red" / f"{k}.png").unlink()
    for k in range(20):
        picture(by_class / "blue" / f"more{k}.png", COLORS["blue"])
    datasets.load(str(by_class))
    assert "--class-weights balanced" in capsys.readouterr().out


def test_too_few_pictures_and_one_class_are_refused(by_class):
    for k in range(7):
        (by_class / "red" / f"{k}.png").unlink()
    with pytest.raises(UserError, match=r"too few .* red \(3\)"):
        datasets.load(str(by_class))
    for name in ("red", "green"):
        (by_class / name).rename(by_class.parent / name)
    with pytest.raises(UserError, match="one class"):
        datasets.load(str(by_class))


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


def test_own_data_are_found_again_by_name_in_the_data_folder(by_class):
    for place in (by_class.parent, by_class):
        assert datasets.load("paints", str(place)).name == "paints"
    with pytest.raises(UserError, match="no data set paints"):
        datasets.load("paints", str(by_class / "red"))


def test_a_models_own_data_are_refused_with_other_classes_and_warned_of_where_they_have_changed(by_class, capsys):
    names, shape = ("blue", "green", "red"), (24, 24, 3)

    def of_model(class_names=names, **about):
        about |= {"dataset": "paints", "class_names": list(class_names)}
        saved = SimpleNamespace(
            path=by_class / "m.h5", metadata=about, model=SimpleNamespace(input_shape=(None, *shape))
        )
        return datasets.of_model(saved, str(by_class.parent))

    digest = of_model().sha256
    assert of_model(data_sha256=digest).x_test.shape == (6, *shape)
    with pytest.raises(UserError, match=r"paints has other classes than .*m\.h5"):
        of_model(names[::-1])
    for k in range(5):
        picture(by_class / "red" / f"more{k}.png", COLORS["red"])
    datasets._kept.cache_clear()
    assert of_model().sha256 != digest and capsys.readouterr().err == "", "older models do not know their data"
    of_model(data_sha256=digest)
    assert "warning: paints has changed since m.h5 was trained" in capsys.readouterr().err


def test_a_data_folder_without_the_data_set_lists_what_is_there_and_downloads_nothing(by_class, monkeypatch):
    monkeypatch.setattr(sources.download, "cached", lambda *_: pytest.fail("a download"))
    for name in ("mnist", "cifar100", "fashion-mnist", "cifar10"):
        with pytest.raises(UserError, match=r"blue, green, red.*--dataset"):
            datasets.load(name, str(by_class))


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
