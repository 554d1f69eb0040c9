"""Each method against its formula written out in loops, on numbers that need no model."""

import numpy as np
import pytest
from PIL import Image

from pipeline.explain import cam


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


def test_scaling_cuts_off_below_zero_and_leaves_a_map_of_nothing_at_zero():
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
    """Centres at 4, 12 and 20 of 32 pixels, as in the CIFAR-100 network; the last cell speaks."""
    heat = cam.enlarge(np.array([[0.0, 0.0, 1.0]]), 1, 32, ((0, 1), (4, 8)))[0]
    np.testing.assert_allclose(heat[[12, 16, 20, 24, 28, 31]], [0, 0.5, 1, 1, 0.5, 0.125])
    heat = cam.enlarge(np.ones((1, 3)), 1, 32, ((0, 1), (4, 8)))[0]
    np.testing.assert_allclose(heat[:25], 1)


@pytest.mark.parametrize(("cells", "pixels"), [(1, 5), (3, 28), (7, 28), (28, 28)])
def test_even_cells_leave_no_pixel_to_fade(cells, pixels):
    np.testing.assert_allclose(cam.enlarge(np.ones((1, cells, cells)), pixels, pixels), 1, rtol=1e-6)
