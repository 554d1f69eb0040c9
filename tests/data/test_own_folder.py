"""Folders of pictures, one for each class: read rightly, or refused in one line that says what would do."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pipeline.config import RunConfig
from pipeline.data import datasets, folder, pictures, rows, sources
from pipeline.data.rows import Rows
from pipeline.errors import UserError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


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


def test_a_folder_without_one_readable_picture_is_bad_input(by_class):
    for file in by_class.glob("*/*.png"):
        file.write_bytes(b"\x89PNG")
    with pytest.raises(UserError, match=r"no picture of .* can be read"):
        datasets.load(str(by_class))


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
