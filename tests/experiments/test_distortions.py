"""Augmentations of the ablation study against loops."""

import numpy as np

from experiments import distortions


def test_cutout_paints_one_square_per_image_that_may_reach_over_the_edge():
    images = np.zeros((2000, 10, 12, 3), np.uint8)
    cut = distortions.cutout(images, np.random.default_rng(0), side=4, fill=(1, 2, 3))
    assert cut.dtype == np.float32
    holes = (cut == [1, 2, 3]).all(axis=-1)
    assert ((cut == 0).all(axis=-1) | holes).all()
    rows, columns = holes.any(axis=2), holes.any(axis=1)
    np.testing.assert_array_equal(holes, rows[:, :, None] & columns[:, None, :])
    for spans, length in ((rows, 10), (columns, 12)):
        assert set(spans.sum(axis=1)) == {2, 3, 4}  # a center on the edge leaves two or three of four
        assert (np.abs(np.diff(np.pad(spans, ((0, 0), (1, 1))).astype(int))).sum(axis=1) == 2).all()
        # each center is as likely as another, and a place is covered by four of them, fewer at the edge
        expected = [len({*range(place - 1, place + 3)} & {*range(length)}) for place in range(length)]
        covered = spans.mean(axis=0) * length
        np.testing.assert_allclose(covered, expected, atol=0.5)
