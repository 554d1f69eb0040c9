"""The plot of a data set: its samples are the data's own pixels, its bars the data's own counts."""

import dataclasses

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

import cifar100_cnn
import data_overview
import mnist_classification
from pipeline.data import datasets
from pipeline.errors import UserError
from pipeline.evaluate import plots


@pytest.fixture
def drawn(monkeypatch):
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure))
    return figures


def bars(axes):
    return [round(bar.get_width()) for bar in axes.patches], axes.get_title()


def test_bars_are_the_images_per_class_of_each_part(digits, drawn, tmp_path):
    data_overview.draw(digits, mnist_classification, tmp_path / "no.png")
    samples, *columns = drawn[0].axes
    parts = datasets.split(digits, mnist_classification.Config().validation)
    found = {"training": parts.y_train, "validation": parts.y_validation, "test": parts.y_test}
    assert len(columns) == 3
    for axes, (name, y) in zip(columns, found.items(), strict=True):
        assert bars(axes) == ([int(np.sum(y == k)) for k in range(10)], f"{name}: {len(y):,}")
        written = [text.get_text() for text in axes.findobj(Text)]
        assert all(f"{np.sum(y == k):,}" in written for k in range(10)) and axes.get_xlabel() == "images per class"
    assert [label.get_text() for label in samples.get_yticklabels()] == list("0123456789")
    footer = drawn[0].get_supxlabel()
    assert "8x8 digits (toy data, not MNIST)" in drawn[0].get_suptitle()
    assert "mnist_classification.py" in footer and "28×28" in footer


def test_data_with_too_few_images_for_a_validation_part_are_drawn_without_one(digits, drawn, tmp_path):
    few = dataclasses.replace(digits, x_train=digits.x_train[:90], y_train=digits.y_train[:90])
    data_overview.draw(few, cifar100_cnn, tmp_path / "no.png")
    _, *columns = drawn[0].axes
    assert [bars(axes)[1] for axes in columns] == ["training: 90", f"test: {len(digits.y_test)}"]
    assert "too few" in drawn[0].get_supxlabel()


def test_a_small_validation_part_is_drawn_where_training_holds_one_out(digits, drawn, tmp_path):
    few = dataclasses.replace(digits, x_train=digits.x_train[:400], y_train=digits.y_train[:400])
    data_overview.draw(few, cifar100_cnn, tmp_path / "no.png")
    _, *columns = drawn[0].axes
    assert [bars(axes)[1] for axes in columns] == ["training: 360", "validation: 40", f"test: {len(digits.y_test)}"]


def test_classes_of_equal_size_are_one_line_and_no_bars(synthetic, drawn, tmp_path):
    training, test = (
        np.concatenate([np.flatnonzero(y == k)[:n] for k in range(20)])
        for y, n in ((synthetic.y_train, 100), (synthetic.y_test, 20))
    )
    train = {"x_train": synthetic.x_train[training], "y_train": synthetic.y_train[training]}
    equal = dataclasses.replace(synthetic, **train, x_test=synthetic.x_test[test], y_test=synthetic.y_test[test])
    data_overview.draw(equal, cifar100_cnn, tmp_path / "no.png")
    (figure,) = drawn
    assert len(figure.axes) == 1 and not figure.axes[0].patches
    assert "90 training, 10 validation and 20 test images" in " ".join(figure.get_suptitle().split())


def test_samples_are_the_first_training_images_of_their_class(synthetic, drawn, tmp_path):
    data_overview.draw(synthetic, data_overview.cifar100_cnn, tmp_path / "no.png")
    mosaic = np.asarray(drawn[0].axes[0].images[0].get_array())
    assert mosaic.shape == (20 * 34, 10 * 34, 3)
    for k in (0, 7, 19):
        for place, index in enumerate(np.flatnonzero(synthetic.y_train == k)[:10]):
            tile = mosaic[34 * k + 1 : 34 * k + 33, 34 * place + 1 : 34 * place + 33]
            np.testing.assert_array_equal(tile, synthetic.x_train[index])


def test_a_superclass_shows_as_many_of_each_of_its_fine_classes(synthetic, drawn, tmp_path):
    """CIFAR-100's layout: 100 fine classes, five in each class."""
    fine = 5 * synthetic.y_train + np.arange(len(synthetic.y_train)) // 20 % 5
    chosen = data_overview.samples(dataclasses.replace(synthetic, fine_train=fine))
    assert chosen.shape == (20, 10) and len(np.unique(chosen)) == 200
    np.testing.assert_array_equal(synthetic.y_train[chosen], np.repeat(np.arange(20)[:, None], 10, axis=1))
    np.testing.assert_array_equal(np.sort(fine[chosen], axis=1), fine[chosen])
    assert set(np.bincount(fine[chosen].ravel())) == {2}
    assert chosen[3, 0] == np.flatnonzero(fine == 15)[0]


def test_the_script_writes_a_plot_per_data_set(tmp_path, capsys):
    assert data_overview.main(["synthetic", "digits", "--output-dir", str(tmp_path / "new")]) == 0
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"synthetic_data.png", "digits_data.png"}
    for name in ("synthetic", "digits"):
        plot = np.asarray(Image.open(tmp_path / "new" / f"{name}_data.png").convert("L"))
        assert min(plot.shape) > 600 and plot.std() > 20
    assert "3,600 training, 400 validation, 1,000 test images" in capsys.readouterr().out


def test_an_unknown_data_set_is_bad_input_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="no data set fashion"):
        data_overview.main(["digits", "fashion", "--output-dir", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()
