"""Each method against its formula written out in loops, with activations, gradients and scores that need no model."""

import numpy as np
import pytest
from PIL import Image

from pipeline.explain import cam, imputation


@pytest.fixture
def captured():
    """Activations as after a ReLU, a fifth of them zero, and gradients of both signs."""
    rng = np.random.default_rng(3)
    activations = np.maximum(rng.normal(0.8, 1, (4, 3, 5, 6)), 0)
    return activations.astype(np.float32), rng.normal(0, 1, activations.shape).astype(np.float32)


def by_loops(activations, gradients, weight):
    """Sum over channels of weight(A, G, i, j) A[i, j], one number at a time."""
    n, height, width, channels = activations.shape
    heat = np.zeros((n, height, width))
    for image in range(n):
        for channel in range(channels):
            a, g = activations[image, :, :, channel].astype(float), gradients[image, :, :, channel].astype(float)
            for i in range(height):
                for j in range(width):
                    heat[image, i, j] += weight(a, g, i, j) * a[i, j]
    return heat


def plus_plus(a, g, i, j):
    """Equations 10 and 19 of arXiv 1710.11063 as they stand there."""
    alpha = g**2 / (2 * g**2 + a.sum() * g**3)
    return (alpha * np.maximum(g, 0)).sum()


@pytest.mark.parametrize(
    ("method", "weight"),
    [
        ("grad-cam", lambda a, g, i, j: g.mean()),
        ("grad-cam++", plus_plus),
        ("hires-cam", lambda a, g, i, j: g[i, j]),
        ("layer-cam", lambda a, g, i, j: max(g[i, j], 0)),
    ],
)
def test_a_gradient_method_is_its_papers_formula(captured, method, weight):
    np.testing.assert_allclose(cam.METHODS[method](*captured), by_loops(*captured, weight), atol=1e-4)


def test_grad_cam_plus_plus_takes_gradients_too_small_to_be_cubed_and_channels_without_any(captured):
    activations, gradients = captured
    expected = cam.grad_cam_plus_plus(activations, 1e-16 * gradients)
    assert np.isfinite(expected).all() and expected.max() > 0
    assert (cam.grad_cam_plus_plus(activations, 0 * gradients) == 0).all()


def test_eigen_cam_is_the_projection_on_the_direction_found_by_power_iteration(captured):
    activations, gradients = captured
    for image, heat in zip(activations.astype(float), cam.eigen_cam(activations, gradients), strict=True):
        cells = image.reshape(-1, image.shape[-1])
        direction = np.ones(cells.shape[1])
        for _ in range(1000):
            direction = cells.T @ (cells @ direction)
            direction /= np.linalg.norm(direction)
        np.testing.assert_allclose(heat.ravel(), cells @ direction, atol=1e-3)
        assert heat.sum() > 0


def test_eigen_cam_does_not_ask_which_class(captured):
    activations, gradients = captured
    np.testing.assert_array_equal(cam.eigen_cam(activations, gradients), cam.eigen_cam(activations, -gradients))


@pytest.fixture
def images():
    return np.random.default_rng(2).uniform(0, 255, (3, 8, 8, 2)).astype(np.float32)


def test_occlusion_finds_the_one_pixel_that_counts():
    """Score: how far pixel (5, 2) stands out of its image. A square of side 2 on it makes the score 0."""
    images = np.zeros((2, 8, 8, 1), np.float32)
    images[:, 5, 2] = [[64], [128]]

    def score(changed, rows):
        assert changed.shape[1:] == (8, 8, 1) and len(rows) == len(changed)
        return changed[:, 5, 2, 0]

    heat = cam.occlusion(score, images)
    for n, value in enumerate((64, 128)):
        fall = value - value / 64  # to the mean of 64 pixels
        expected = np.zeros((8, 8))
        for top in range(7):
            for left in range(7):
                inside = top <= 5 < top + 2 and left <= 2 < left + 2
                expected[top : top + 2, left : left + 2] += fall * inside
        times = np.outer([1, *[2] * 6, 1], [1, *[2] * 6, 1])
        np.testing.assert_allclose(heat[n], expected / times, rtol=1e-5)
        assert heat[n].argmax() == 5 * 8 + 2


def test_occlusion_asks_each_image_about_its_own_target(images):
    values = np.array([1.0, 10.0, 100.0], np.float32)

    def score(changed, rows):
        return changed[:, 0, 0, 0] * values[rows]

    heat = cam.occlusion(score, images)
    blank = imputation.blank(images)[:, 0, 0, 0]
    np.testing.assert_allclose(heat[:, 0, 0], (images[:, 0, 0, 0] - blank) * values, rtol=1e-4)


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (32, 20), (9, 11), (3, 3)])
def test_occlusion_reaches_every_pixel(shape):
    images = np.random.default_rng(0).uniform(0, 255, (1, *shape, 1)).astype(np.float32)
    heat = cam.occlusion(lambda changed, rows: changed.sum(axis=(1, 2, 3)), images)
    assert heat.shape == (1, *shape) and np.isfinite(heat).all() and (heat != 0).all()


def test_score_cam_is_its_papers_formula(images):
    activations = np.maximum(np.random.default_rng(5).normal(0.5, 1, (3, 4, 4, 6)), 0).astype(np.float32)
    activations[:, :, :, 2] = 0.7  # a channel that is the same everywhere masks nothing out, or all
    look = np.random.default_rng(6).normal(0, 0.01, images.shape[1:])

    def score(changed, rows):
        return (changed * look).sum(axis=(1, 2, 3)) * (1 + rows)

    expected = np.zeros((3, 4, 4))
    for n in range(3):
        scores = np.zeros(6)
        for k in range(6):
            one = activations[n, :, :, k].astype(float)
            mask = (one - one.min()) / (np.ptp(one) or 1)
            mask = cam.enlarge(mask[None], 8, 8)[0][..., None]
            mean = images[n].mean(axis=(0, 1))
            scores[k] = ((mask * images[n] + (1 - mask) * mean) * look).sum() * (1 + n)
        weights = np.exp(scores) / np.exp(scores).sum()
        expected[n] = (activations[n] * weights).sum(axis=-1)
    np.testing.assert_allclose(cam.score_cam(score, images, activations), expected, rtol=1e-3)


def test_score_cam_asks_only_the_channels_that_vary_most(images, monkeypatch):
    monkeypatch.setattr(cam, "SCORE_CAM_CHANNELS", 2)
    activations = np.random.default_rng(5).random((3, 4, 4, 5)).astype(np.float32) * [1, 9, 2, 1, 5]
    asked = []

    def score(changed, rows):
        asked.append(len(changed))
        return np.zeros(len(changed))

    heat = cam.score_cam(score, images, activations)
    assert asked == [2 * 3]
    np.testing.assert_allclose(heat, activations[..., [1, 4]].mean(axis=-1), rtol=1e-5)


def test_scaling_clips_below_zero_and_leaves_a_map_of_nothing_at_zero():
    maps = np.array([[[-2.0, 4.0], [1.0, 2.0]], [[-1.0, 0.0], [-3.0, 0.0]]])
    np.testing.assert_array_equal(cam.scale(maps), [[[0, 1], [0.25, 0.5]], [[0, 0], [0, 0]]])
    assert cam.scale(maps).dtype == np.float32


def test_fusion_takes_the_stage_that_speaks_loudest_at_each_pixel():
    coarse, fine = np.array([[[8.0, 4.0]]]), np.array([[[0.0, 1.0]]])
    np.testing.assert_allclose(cam.fuse([coarse, fine]), [[[np.tanh(2), np.tanh(2)]]])
    np.testing.assert_allclose(cam.fuse([coarse, 0 * fine]), [[[np.tanh(2), np.tanh(1)]]])


@pytest.mark.parametrize(
    ("small", "large"), [((4, 4), (8, 8)), ((3, 5), (32, 28)), ((1, 1), (6, 6)), ((7, 2), (28, 28))]
)
def test_a_map_is_enlarged_bilinearly_as_pillow_does(small, large):
    maps = np.random.default_rng(1).random((3, *small), np.float32)
    expected = [np.asarray(Image.fromarray(one).resize(large[::-1], Image.Resampling.BILINEAR)) for one in maps]
    np.testing.assert_allclose(cam.enlarge(maps, *large), expected, atol=1e-5)


def test_cells_lie_where_they_look_and_their_heat_fades_where_none_does():
    """Centers at 4, 12 and 20 of 32 pixels, as in the CIFAR-100 network; the last cell speaks."""
    heat = cam.enlarge(np.array([[0.0, 0.0, 1.0]]), 1, 32, ((0, 1), (4, 8)))[0]
    np.testing.assert_allclose(heat[[12, 16, 20, 24, 28, 31]], [0, 0.5, 1, 1, 0.5, 0.125])
    heat = cam.enlarge(np.ones((1, 3)), 1, 32, ((0, 1), (4, 8)))[0]
    np.testing.assert_allclose(heat[:25], 1)


@pytest.mark.parametrize(("cells", "pixels"), [(1, 5), (3, 28), (7, 28), (28, 28)])
def test_even_cells_leave_no_pixel_to_fade(cells, pixels):
    np.testing.assert_allclose(cam.enlarge(np.ones((1, cells, cells)), pixels, pixels), 1, rtol=1e-6)
