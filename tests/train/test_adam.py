"""Adam in one operation against Keras' own."""

import numpy as np

from pipeline.backend import keras
from pipeline.train import adam


def weights_after_three_steps(optimizer) -> list[np.ndarray]:
    """Of a kernel and a bias, on gradients of very different sizes."""
    rng = np.random.default_rng(0)
    values = {"kernel": rng.normal(size=(7, 5)), "bias": rng.normal(size=5)}
    variables = [keras.Variable(value.astype(np.float32), name=name) for name, value in values.items()]
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    for _ in range(3):
        gradients = [rng.normal(size=value.shape) * 10.0 ** rng.integers(-4, 3) for value in values.values()]
        optimizer.apply([keras.ops.convert_to_tensor(np.float32(gradient)) for gradient in gradients], variables)
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def test_with_a_schedule_it_is_adam():
    ours, theirs = (
        weights_after_three_steps(optimizer(keras.optimizers.schedules.CosineDecay(0.1, 5), beta_2=0.99))
        for optimizer in (adam.Adam, keras.optimizers.Adam)
    )
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_with_weight_decay_it_is_adamw_which_excludes_what_it_is_told_to():
    ours, theirs, without = (
        weights_after_three_steps(optimizer(0.1, weight_decay=decay))
        for optimizer, decay in ((adam.AdamW, 0.5), (keras.optimizers.AdamW, 0.5), (adam.Adam, None))
    )
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert np.abs(ours[0] - without[0]).max() > 0.01
    np.testing.assert_array_equal(ours[1], without[1])
