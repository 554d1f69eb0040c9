"""Data sets that need no file, and the split that carves validation from train."""

import dataclasses
import gc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import cifar100_cnn
from pipeline.data import datasets, sources, toy
from pipeline.data.cifar100_labels import CIFAR100_FINE
from pipeline.errors import UserError

SIZES = {"digits": (1347, 450, (28, 28, 1), 10), "synthetic": (4000, 1000, (32, 32, 3), 20)}


@pytest.fixture(params=SIZES)
def named(request):
    return request.getfixturevalue(request.param)


def keys(images):
    return [image.tobytes() for image in images]


def test_toy_data_are_raw_uint8_pixels_and_integer_labels(named):
    n_train, n_test, shape, classes = SIZES[named.name]
    assert named.x_train.shape == (n_train, *shape) and named.x_test.shape == (n_test, *shape)
    assert named.image_shape == shape and len(named.class_names) == len(set(named.class_names)) == classes
    assert named.x_train.dtype == named.x_test.dtype == np.uint8
    assert named.y_train.dtype == named.y_test.dtype == np.int64
    assert named.x_train.min() == 0 and named.x_train.max() == 255
    for labels, n in ((named.y_train, n_train), (named.y_test, n_test)):
        assert labels.shape == (n,)
        assert np.bincount(labels, minlength=classes).min() > 0.7 * n / classes
    assert named.sources == {} and named.x_validation is None


def test_toy_data_are_the_same_every_time(named):
    again = {"digits": toy.digits, "synthetic": toy.synthetic}[named.name]()
    for field, array in zip(("x_train", "y_train", "x_test", "y_test"), again, strict=True):
        np.testing.assert_array_equal(getattr(named, field), array)


def test_no_test_image_is_among_the_training_images(named):
    assert not set(keys(named.x_train)) & set(keys(named.x_test))


def test_plots_say_that_toy_data_are_not_the_real_ones(named):
    assert "toy data, not " in named.title


def test_digits_are_scikit_learns_in_the_place_where_mnists_are(digits):
    images = np.concatenate([digits.x_train, digits.x_test])
    assert images.sum() == images[:, 4:24, 4:24].sum()
    # Reduced to 8x8 again, each image must be the one in scikit-learn's set that carries its label.
    bunch = load_digits()
    blocks = digits.x_test[:100, 4:24, 4:24, 0].reshape(100, 10, 2, 10, 2).mean(axis=(2, 4)).reshape(100, -1)
    columns = np.linspace(0, 7, 10).round().astype(int)
    originals = bunch.images[:, columns][:, :, columns].reshape(len(bunch.images), -1)
    alike = np.corrcoef(blocks, originals)[:100, 100:].argmax(axis=1)
    assert (bunch.target[alike] == digits.y_test[:100]).mean() > 0.97


def test_synthetic_images_come_in_any_number_and_with_any_seed():
    x_train, y_train, x_test, y_test = toy.synthetic(40, 20, seed=1)
    assert x_train.shape == (40, 32, 32, 3) and x_test.shape == (20, 32, 32, 3)
    assert sorted(np.concatenate([y_train, y_test])) == sorted(list(range(20)) * 3)
    assert (toy.synthetic(40, 20, seed=2)[0] != x_train).any()


def test_a_linear_classifier_learns_little_of_the_synthetic_images(synthetic):
    """Otherwise color or position gives the label away and a CNN has nothing to show."""

    def blocks(images):
        return images.reshape(len(images), 8, 4, 8, 4, 3).mean(axis=(2, 4)).reshape(len(images), -1) / 255 - 0.5

    linear = LogisticRegression(max_iter=300).fit(blocks(synthetic.x_train), synthetic.y_train)
    assert linear.score(blocks(synthetic.x_test), synthetic.y_test) < 0.13  # chance is 0.05


def test_hollow_shapes_have_more_edges_than_full_ones(synthetic):
    """The counterpart: what the label says is in the picture."""
    edges = np.abs(np.diff(synthetic.x_train.astype(int), axis=2)).max(axis=-1) > 80  # more than noise makes
    per_image = edges.sum(axis=(1, 2))
    hollow = synthetic.y_train % 2 == 1
    assert "hollow" in synthetic.class_names[1] and "full" in synthetic.class_names[0]
    assert per_image[hollow].mean() > 1.05 * per_image[~hollow].mean()


def test_split_is_stratified_and_loses_and_repeats_no_image(named):
    parts = datasets.split(named, 0.1)
    assert len(parts.y_validation) == -(-len(named.y_train) // 10)
    rows = np.concatenate([parts.x_train, parts.x_validation])
    assert sorted(keys(rows)) == sorted(keys(named.x_train))
    labels_of = dict(zip(keys(named.x_train), named.y_train, strict=True))
    assert [labels_of[key] for key in keys(rows)] == [*parts.y_train, *parts.y_validation]
    expected = np.bincount(named.y_train) / 10
    assert np.abs(np.bincount(parts.y_validation) - expected).max() <= 1
    np.testing.assert_array_equal(parts.x_test, named.x_test)


def test_split_takes_the_same_validation_images_every_time(digits):
    one, again = datasets.split(digits, 0.2), datasets.split(digits, 0.2)
    np.testing.assert_array_equal(one.x_validation, again.x_validation)


def test_split_draws_validation_from_the_whole_set_and_not_from_its_end(digits):
    held_out = set(keys(datasets.split(digits, 0.1).x_validation))
    places = [i for i, key in enumerate(keys(digits.x_train)) if key in held_out]
    assert min(places) < 100 and max(places) > 1247


def test_limit_keeps_exactly_so_many_training_images_of_all_classes(digits):
    whole, few = datasets.split(digits, 0.1), datasets.split(digits, 0.1, limit=105)
    assert len(few.y_train) == len(few.x_train) == 105
    assert set(np.bincount(few.y_train)) <= {10, 11}
    assert set(keys(few.x_train)) <= set(keys(whole.x_train))
    np.testing.assert_array_equal(few.x_validation, whole.x_validation)
    assert len(datasets.split(digits, 0.1, limit=len(whole.y_train)).y_train) == len(whole.y_train)


@pytest.mark.parametrize("limit", [0, 9, 1210, 1213, 100_000])
def test_a_limit_that_cannot_be_kept_is_bad_input_with_the_range(digits, limit):
    with pytest.raises(UserError, match=r"10 to 1202"):
        datasets.split(digits, 0.1, limit=limit)


def test_a_validation_fraction_too_small_for_one_image_of_each_class_is_bad_input(digits):
    few = datasets.shrink(digits, 60)
    with pytest.raises(UserError, match=r"--validation 0.0833333 .*; use at least 0.17"):
        datasets.split(few, 5 / 60)
    assert len(datasets.split(few, 0.17).y_validation) == 11


def with_classes(digits, sizes):
    """So many images of each of the first classes."""
    chosen = np.concatenate([np.flatnonzero(digits.y_train == k)[:n] for k, n in enumerate(sizes)])
    train = {"x_train": digits.x_train[chosen], "y_train": digits.y_train[chosen]}
    return dataclasses.replace(digits, class_names=digits.class_names[: len(sizes)], **train)


@pytest.mark.parametrize(
    ("sizes", "limit", "said"),
    [
        ([5] * 10, None, "--validation 0.9 leaves fewer training images than classes; use a smaller fraction"),
        ([4, 120], None, "--validation 0.9 leaves too few training images of 0; use a smaller fraction"),
        ([10, 120], 5, "--validation 0.9 leaves too few training images of 0; use a smaller fraction"),
        ([20, 120, 120], 3, "--limit 3 leaves too few training images of 0; use a larger one"),
    ],
)
def test_every_class_keeps_a_training_image_or_the_split_is_bad_input(digits, sizes, limit, said):
    with pytest.raises(UserError, match=said):
        datasets.split(with_classes(digits, sizes), 0.9, limit)


def test_a_small_fraction_that_is_raised_on_small_data_is_said(digits, capsys):
    datasets.split(digits, 0.1)
    assert not capsys.readouterr().out
    datasets.split(digits, 0.02)
    assert "135 of 1,347 training images are for validation, as 0.02 of them is too few" in capsys.readouterr().out


@pytest.fixture
def config():
    return SimpleNamespace(
        dataset="digits", data_dir=None, validation=0.1, limit=None, dry_run=False, batch_size=8, seed=0
    )


def test_a_dry_run_keeps_three_batches_of_every_part(config):
    config.dry_run = True
    parts = datasets.prepare(config)
    for field in dataclasses.fields(parts):
        value = getattr(parts, field.name)
        assert not isinstance(value, np.ndarray) or len(value) == 24
    config.dry_run = False
    assert len(datasets.prepare(config).y_train) == 1212


def small_cifar():
    """x_train, y_train, x_test, y_test as pipeline.data.sources gives them: y is coarse and fine label."""
    images = np.random.default_rng(0).integers(0, 256, (6, 2, 2, 3), dtype=np.uint8)
    return images[:4], np.array([[0, 3], [1, 1], [0, 2], [1, 0]]), images[4:], np.array([[1, 1], [0, 3]])


def test_a_data_set_is_decoded_once_per_process_and_nobody_can_change_it_for_the_next(tmp_path, monkeypatch):
    decoded = []

    def few(name, places):
        decoded.append(places)
        return small_cifar(), {"some.bin": "of its content"}

    monkeypatch.setattr(sources, "read", few)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    first = datasets.load("cifar100", str(tmp_path))
    assert datasets.load("cifar100", ".") is first and len(decoded) == 1
    assert datasets.load("cifar100", "other") is not first and len(decoded) == 2
    arrays = [value for value in vars(first).values() if isinstance(value, np.ndarray)]
    assert len(arrays) == 6
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_the_fine_labels_are_a_data_set_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "read", lambda name, places: (small_cifar(), {}))
    fine = datasets.load("cifar100-fine", str(tmp_path))
    assert fine.y_train.tolist() == [3, 1, 2, 0] and fine.y_test.tolist() == [1, 3]
    assert fine.class_names == CIFAR100_FINE and fine.title != datasets.load("cifar100", str(tmp_path)).title
    with pytest.raises(UserError, match="one kind of label"):
        datasets.with_fine_labels(fine)


def test_a_training_process_keeps_its_parts_and_not_the_whole_data_set_beside_them(config, monkeypatch):
    made, digits = [], toy.digits

    def watched():
        arrays = digits()
        made.append(weakref.ref(arrays[0]))
        return arrays

    monkeypatch.setattr(toy, "digits", watched)
    parts = datasets.prepare(config)
    gc.collect()
    assert len(parts.x_train) == 1212
    assert [whole() for whole in made] == [None]


def test_the_hash_is_of_every_pixel_and_label_of_the_whole_data_set(tmp_path, monkeypatch):
    def sha256(arrays, name):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setattr(sources, "read", lambda name, places: (arrays, {}))
        return datasets.load("cifar100", str(folder)).sha256

    found = {sha256(small_cifar(), "as it is")}
    assert found == {sha256(small_cifar(), "in another folder")} and len(next(iter(found))) == 64
    for which, place in ((0, (3, 1, 1, 2)), (1, (2, 0)), (1, (2, 1)), (2, (0, 0, 0, 0)), (3, (1, 0)), (3, (1, 1))):
        arrays = small_cifar()
        arrays[which][place] ^= 1
        found.add(sha256(arrays, f"{which} {place}"))
    assert len(found) == 7


def test_parts_of_a_data_set_keep_the_hash_and_the_sources_of_the_whole(digits, synthetic):
    assert digits.sha256 != synthetic.sha256
    read = dataclasses.replace(digits, sources={"some.npz": "of its content"})
    for part in (datasets.split(read, 0.2), datasets.split(read, limit=100), datasets.shrink(read, 10)):
        assert (part.sha256, part.sources) == (digits.sha256, {"some.npz": "of its content"})
    assert datasets.with_fine_labels(with_fine(synthetic)).sha256 == synthetic.sha256


def with_fine(synthetic, per_class=5):
    """The synthetic images with invented fine labels: five for each class, of which the class is the quotient."""
    draw = np.random.default_rng(0).integers(0, per_class, len(synthetic.y_train))
    return dataclasses.replace(
        synthetic, fine_train=synthetic.y_train * per_class + draw, fine_test=synthetic.y_test * per_class
    )


def test_fine_labels_follow_their_images_through_the_split_and_into_training(synthetic):
    parts = datasets.split(with_fine(synthetic), 0.1, limit=2000)
    for name, n in (("train", 2000), ("validation", 400)):
        fine = getattr(parts, f"fine_{name}")
        assert len(fine) == n
        np.testing.assert_array_equal(fine // 5, getattr(parts, f"y_{name}"))
    labelled = datasets.with_fine_labels(parts)
    np.testing.assert_array_equal(labelled.y_train, parts.fine_train)
    np.testing.assert_array_equal(labelled.y_validation, parts.fine_validation)
    assert len(labelled.class_names) == len(set(labelled.class_names)) == 100


def test_data_without_fine_labels_are_refused_by_name(tmp_path):
    flags = ["--dataset", "synthetic", "--labels", "fine", "--precision", "float32", "--output-dir", str(tmp_path)]
    with pytest.raises(UserError, match="--labels fine needs CIFAR-100"):
        cifar100_cnn.main(flags)


def test_the_superclass_of_each_fine_label_is_read_off_the_training_images(monkeypatch):
    fine = np.random.default_rng(0).permutation(np.arange(200) % 100)
    labels = np.stack([(fine * 7) % 20, fine], axis=1)  # coarse, fine
    images = np.zeros((200, 32, 32, 3), np.uint8)
    monkeypatch.setattr(sources, "read", lambda name, places: ((images, labels, images[:9], labels[:9]), {}))
    dataset = datasets._decode("cifar100", ())
    assert dataset.superclasses == tuple((label * 7) % 20 for label in range(100))
    np.testing.assert_array_equal(dataset.y_train, labels[:, 0])
    np.testing.assert_array_equal(dataset.fine_test, labels[:9, 1])
