"""Data sets that need no file, and the split that carves validation from train."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import cifar100_cnn
from pipeline.data import datasets, toy
from pipeline.errors import UserError

SIZES = {"digits": (1347, 450, (28, 28, 1), 10), "synthetic": (4000, 1000, (32, 32, 3), 20)}


@pytest.fixture(params=SIZES)
def named(request):
    return request.getfixturevalue(request.param)


def keys(images):
    return [image.tobytes() for image in images]


def test_embedded_data_are_raw_uint8_pixels_and_integer_labels(named):
    n_train, n_test, shape, classes = SIZES[named.name]
    assert named.x_train.shape == (n_train, *shape) and named.x_test.shape == (n_test, *shape)
    assert named.image_shape == shape and len(named.class_names) == len(set(named.class_names)) == classes
    assert named.x_train.dtype == named.x_test.dtype == np.uint8
    assert named.y_train.dtype == named.y_test.dtype == np.int64
    assert named.x_train.min() == 0 and named.x_train.max() == 255
    for labels, n in ((named.y_train, n_train), (named.y_test, n_test)):
        assert labels.shape == (n,)
        assert np.bincount(labels, minlength=classes).min() > 0.7 * n / classes
    assert named.files == {} and named.x_validation is None


def test_embedded_data_are_the_same_every_time(named):
    again = datasets.load(named.name)
    for field in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(named, field), getattr(again, field))


def test_no_test_image_is_among_the_training_images(named):
    assert not set(keys(named.x_train)) & set(keys(named.x_test))


def test_figures_say_that_embedded_data_are_not_the_real_ones(named):
    assert "embedded" in named.title and "not " in named.title


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


def test_shapes_come_in_any_number_and_with_any_seed():
    x_train, y_train, x_test, y_test = toy.synthetic(40, 20, seed=1)
    assert x_train.shape == (40, 32, 32, 3) and x_test.shape == (20, 32, 32, 3)
    assert sorted(np.concatenate([y_train, y_test])) == sorted(list(range(20)) * 3)
    assert (toy.synthetic(40, 20, seed=2)[0] != x_train).any()


def test_a_linear_classifier_learns_little_of_the_shapes(shapes):
    """Otherwise colour or position gives the label away and a CNN has nothing to show."""

    def blocks(images):
        return images.reshape(len(images), 8, 4, 8, 4, 3).mean(axis=(2, 4)).reshape(len(images), -1) / 255 - 0.5

    linear = LogisticRegression(max_iter=300).fit(blocks(shapes.x_train), shapes.y_train)
    assert linear.score(blocks(shapes.x_test), shapes.y_test) < 0.13  # chance is 0.05


def test_hollow_shapes_have_more_edges_than_full_ones(shapes):
    """The counterpart: what the label says is in the picture."""
    edges = np.abs(np.diff(shapes.x_train.astype(int), axis=2)).max(axis=-1) > 80  # more than noise makes
    per_image = edges.sum(axis=(1, 2))
    hollow = shapes.y_train % 2 == 1
    assert "hollow" in shapes.class_names[1] and "full" in shapes.class_names[0]
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


def test_a_validation_share_too_small_for_one_image_of_each_class_is_bad_input(digits):
    with pytest.raises(UserError, match="validation"):
        datasets.split(digits, 0.001)


def test_a_dry_run_keeps_three_batches_of_every_part():
    config = SimpleNamespace(
        dataset="digits", data_dir=None, validation=0.1, limit=None, dry_run=True, batch_size=8, seed=0
    )
    parts = datasets.prepare(config)
    for field in dataclasses.fields(parts):
        value = getattr(parts, field.name)
        assert not isinstance(value, np.ndarray) or len(value) == 24
    config.dry_run = False
    assert len(datasets.prepare(config).y_train) == 1212


def with_fine(shapes, per_class=5):
    """Shapes with invented fine labels: five for each class, of which the class is the quotient."""
    draw = np.random.default_rng(0).integers(0, per_class, len(shapes.y_train))
    return dataclasses.replace(
        shapes, fine_train=shapes.y_train * per_class + draw, fine_test=shapes.y_test * per_class
    )


def test_fine_labels_follow_their_images_through_the_split_and_into_training(shapes):
    parts = datasets.split(with_fine(shapes), 0.1, limit=2000)
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
