"""Faithfulness measures on a model whose every answer is known: the probability is a mean of pixels."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import cifar100_cnn
import mnist_classification
from benchmarks import faithfulness as benchmark
from benchmarks import faithfulness_table
from pipeline import atomic_io
from pipeline.backend import keras
from pipeline.errors import UserError
from pipeline.explain import faithfulness, imputation
from pipeline.explain.explainer import Explainer, score_weights
from pipeline.models import saved_model


@pytest.fixture
def maps():
    return np.random.default_rng(0).random((4, 6, 5)).astype(np.float32)


def test_ranks_are_those_of_a_sort_and_the_second_map_decides_ties(maps):
    heat = np.round(maps, 1)
    heat[3] = 0
    for one, tie, ranks in zip(heat, maps, faithfulness.ranks(heat, maps), strict=True):
        expected = sorted(range(30), key=lambda i: (one.flat[i], tie.flat[i]))
        assert list(np.argsort(ranks.ravel())) == expected
    np.testing.assert_array_equal(faithfulness.ranks(heat, maps)[3], faithfulness.ranks(maps, 0 * maps)[3])


def linear(weights):
    """A model of two classes: the first one's probability is a weighted sum of the image's pixels."""

    def predict(images):
        first = (images[..., 0] * weights).sum(axis=(1, 2))
        return np.stack([first, 1 - first], axis=1)

    return predict


def test_curves_are_those_of_pixels_taken_away_and_brought_back_one_by_one():
    rng = np.random.default_rng(1)
    images, heat = rng.random((2, 2, 3, 1)), rng.random((2, 2, 3))
    weights, classes = rng.random((2, 3)) / 6, np.array([0, 1])
    predict = linear(weights)
    blank = np.broadcast_to(imputation.blank(images), images.shape)
    ends = tuple(faithfulness.of_class(predict(one), classes) for one in (images, blank))
    deletion, insertion = faithfulness.curves(predict, imputation.masked, images, classes, heat, heat, ends, steps=6)
    for n in range(2):
        order = np.argsort(-heat[n].ravel())
        for count in range(7):
            without, only = images[n].ravel().copy(), np.full(6, images[n].mean())
            without[order[:count]] = images[n].mean()
            only[order[:count]] = images[n].ravel()[order[:count]]
            for curve, pixels in ((deletion, without), (insertion, only)):
                first = (pixels * weights.ravel()).sum()
                assert curve[n, count] == pytest.approx(first if n == 0 else 1 - first, rel=1e-5)


def test_the_true_map_beats_chance_and_its_opposite_loses():
    rng = np.random.default_rng(2)
    images, classes = np.zeros((50, 8, 8, 1)), np.zeros(50, int)
    spots = rng.integers(1, 7, (50, 2))
    for image, (row, column) in zip(images, spots, strict=True):
        image[row - 1 : row + 2, column - 1 : column + 2] = 1

    def predict(changed):
        """Sees bright pixels only: the fraction of the nine that is left."""
        seen = (changed[..., 0] > 0.9).sum(axis=(1, 2)) / 9
        return np.stack([seen, 1 - seen], axis=1)

    ends = np.ones(50), np.zeros(50)
    chance = faithfulness.random_maps(50, 8, 8, 0)
    areas = {
        name: [
            faithfulness.area(c)
            for c in faithfulness.curves(predict, imputation.masked, images, classes, heat, chance, ends, 8)
        ]
        for name, heat in {
            "true": images[..., 0],
            "false": -images[..., 0],
            "zero": 0 * chance,
            "chance": chance,
        }.items()
    }
    assert faithfulness.mean_and_error(areas["chance"][0] - areas["true"][0])[0] > 0.2
    assert faithfulness.mean_and_error(areas["true"][1] - areas["chance"][1])[0] > 0.2
    assert (areas["false"][1] < areas["true"][1]).all() and (areas["false"][0] > areas["true"][0]).all()
    np.testing.assert_array_equal(areas["zero"], areas["chance"])


def test_an_area_is_a_mean_height():
    np.testing.assert_allclose(faithfulness.area(np.array([[1, 0], [0.5, 0.5]])), [0.5, 0.5])
    assert faithfulness.area(np.array([[1.0, 0.2, 0.0]]))[0] == pytest.approx((0.6 + 0.1) / 2)


def test_average_drop_and_increase_written_out():
    whole, seen = np.array([0.8, 0.5, 0.4]), np.array([0.4, 0.6, 0.4])
    assert faithfulness.average_drop(whole, seen) == pytest.approx(100 * (0.5 + 0 + 0) / 3)
    assert faithfulness.increase_in_confidence(whole, seen) == pytest.approx(100 / 3)


def test_a_mean_comes_with_the_half_width_of_its_95_percent_interval():
    sample = np.random.default_rng(0).normal(3, 2, 400)
    low, high = stats.norm.interval(0.95, sample.mean(), stats.sem(sample))
    assert faithfulness.mean_and_error(sample) == pytest.approx((sample.mean(), (high - low) / 2), rel=1e-3)


def test_rank_correlation_is_spearmans(maps):
    other = np.round(maps[::-1], 1) + maps
    expected = [stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(maps, other, strict=True)]
    np.testing.assert_allclose(faithfulness.rank_correlation(maps, other), expected, atol=1e-10)


def test_a_map_of_one_value_is_like_nothing_and_has_nothing_to_be_like(maps):
    flat = np.zeros_like(maps)
    assert (faithfulness.rank_correlation(maps, flat) == 0).all()
    assert np.isnan(faithfulness.rank_correlation(flat, maps)).all()


def test_controls_have_their_shapes_and_ranges():
    smooth, pixels = faithfulness.random_maps(40, 32, 28, 0), faithfulness.random_pixels(40, 32, 28, 0)
    gauss = faithfulness.centered_gaussian(2, 32, 28)
    for heat in (smooth, pixels, gauss):
        assert heat.shape[1:] == (32, 28) and heat.dtype == np.float32 and heat.min() >= 0 and heat.max() <= 1
    neighbors = [np.corrcoef(heat[:, :, 1:].ravel(), heat[:, :, :-1].ravel())[0, 1] for heat in (smooth, pixels)]
    assert neighbors[0] > 0.9 and abs(neighbors[1]) < 0.05
    np.testing.assert_allclose(gauss, gauss[:, ::-1, ::-1], rtol=1e-5)
    assert gauss[0, 24, 14] / gauss[0, 16, 14] == pytest.approx(np.exp(-0.5), rel=0.1)  # a quarter of the side off
    assert not np.array_equal(smooth[0], smooth[1])


def test_randomizing_keeps_each_tensors_numbers_and_changes_their_places():
    layer = keras.layers.Dense(20)
    layer.build((None, 30))
    layer.set_weights([np.arange(600.0).reshape(30, 20), np.arange(20.0)])
    faithfulness.randomize(layer, 0)
    kernel, bias = layer.get_weights()
    np.testing.assert_array_equal(np.sort(kernel.ravel()), np.arange(600))
    np.testing.assert_array_equal(np.sort(bias), np.arange(20))
    assert abs(np.corrcoef(kernel.ravel(), np.arange(600))[0, 1]) < 0.2


def test_grad_cam_is_also_measured_stretched_where_that_puts_it_elsewhere():
    model = saved_model.inference_copy(cifar100_cnn.build_model(cifar100_cnn.Config()), (32, 32, 3))
    stretched = (benchmark.STRETCHED, "block3_relu3")
    assert stretched in benchmark.subjects(model, benchmark.Config())
    even = mnist_classification.build_model(mnist_classification.Config(pool_first=False))
    assert benchmark.STRETCHED not in dict(benchmark.subjects(even, benchmark.Config()))
    images, target = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8), score_weights([3] * 4, 20)
    logits = model.get_layer("logits")
    logits.set_weights([np.abs(kernel) for kernel in logits.get_weights()])  # evidence, whatever the initialization
    explain = Explainer(model)
    own, heat = (
        benchmark.heat_of(explain, row, images, target, 0) for row in (("grad-cam", "block3_relu3"), stretched)
    )
    assert np.abs(own - heat).max() > 0.1
    explain.cells = {}  # without them it stretches
    np.testing.assert_allclose(heat, explain(images, target, "grad-cam", "block3_relu3"), atol=1e-5)


def test_every_stage_is_measured_where_that_is_asked_for():
    model = mnist_classification.build_model(mnist_classification.Config())
    default, stages = (benchmark.subjects(model, benchmark.Config(stages=stages)) for stages in (False, True))
    assert set(default) < set(stages)
    assert {layer for method, layer in default if method == "layer-cam"} == {"block3_conv2_relu", "fused"}
    assert ("layer-cam", "block1_conv2_relu") in stages


def test_both_ways_of_removal_start_and_end_alike_and_differ_between():
    rng = np.random.default_rng(1)
    images, heat, weights = rng.random((3, 6, 6, 1)), rng.random((3, 6, 6)), rng.random((6, 6)) / 36
    ends, classes = (np.ones(3), np.zeros(3)), np.zeros(3, int)
    found = []
    for name in faithfulness.REMOVALS:
        remove = faithfulness.removal(name, 0)
        found.append(faithfulness.curves(linear(weights), remove, images, classes, heat, heat, ends, steps=4))
    (blank, _), (imputed, _) = found
    np.testing.assert_array_equal(blank[:, [0, -1]], imputed[:, [0, -1]])
    assert np.abs(blank - imputed)[:, 1:-1].min() > 1e-4


def rows_of(model, layer):
    """Rows of a model as the benchmark's table has them, as far as the summary plot needs them."""
    methods = [("random", ""), ("grad-cam", layer), ("grad-cam", "fused"), ("score-cam", layer)]
    return [{"model": model, "method": method, "layer": at} for method, at in [*methods, ("aggregate", layer)]]


def test_the_summary_shows_the_default_explanation_and_grad_cam_at_its_default_layer():
    table = pd.DataFrame([*rows_of("cifar100", "relu3"), *rows_of("custom_cnn", "relu9")])
    shown = [(row["model"], row["method"], row["layer"]) for row in faithfulness_table.shown(table)]
    assert shown == [
        ("CNN from scratch", "Grad-CAM + expected gradients", "relu3"),
        ("custom CNN", "Grad-CAM + expected gradients", "relu9"),
        ("CNN from scratch", "Grad-CAM", "relu3"),
        ("custom CNN", "Grad-CAM", "relu9"),
    ]


def test_a_control_is_beaten_only_in_both_measures_and_under_both_removals():
    own = np.array([0.1, 0.12, 0.11]), np.array([0.6, 0.61, 0.62])
    worse = np.array([0.3, 0.33, 0.31]), np.array([0.5, 0.52, 0.5])
    row = {"method": "grad-cam"}
    for control in faithfulness.CONTROLS:
        for removal in faithfulness.REMOVALS:
            row |= faithfulness_table.gains(own, worse, f"{control}_{removal}")
    assert faithfulness_table.unbeaten(row) == []
    row |= faithfulness_table.gains(own, (worse[0], own[1]), "gaussian_road")
    assert row["beats_gaussian_road"] == "in deletion alone" and faithfulness_table.unbeaten(row) == ["gaussian"]


def test_measuring_one_model_again_replaces_its_rows_alone(tmp_path):
    table = tmp_path / "gradcam_faithfulness.csv"
    for model, area in (("custom_cnn", 0.1), ("cifar100", 0.2), ("custom_cnn", 0.3)):
        rows = [{"model": model, "method": "random", "layer": "", "beats_random": "no", "deletion_area": area}]
        atomic_io.write_csv(table, faithfulness_table.merged(table, rows))
    found = pd.read_csv(table, keep_default_na=False)
    assert found[["model", "deletion_area"]].values.tolist() == [["cifar100", 0.2], ["custom_cnn", 0.3]]
    assert found.layer.tolist() == ["", ""] and found.beats_random.tolist() == ["no", "no"]


def test_a_table_without_models_is_damaged(tmp_path):
    (tmp_path / "table.csv").write_text("something,else\n1,2\n")
    with pytest.raises(UserError, match="is damaged"):
        faithfulness_table.merged(tmp_path / "table.csv", [{"model": "custom_cnn"}])
