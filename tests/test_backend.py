"""Which numbers of devices are refused, on a made-up machine with four of them."""

import pytest
from tiny_run import start

from pipeline import backend
from pipeline.errors import UserError

FOUR = [f"cpu:{number}" for number in range(4)]


@pytest.fixture
def four_devices(monkeypatch):
    monkeypatch.setattr(backend.keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(backend.keras.distribution, "list_devices", lambda: FOUR)
    monkeypatch.setattr(backend.keras.distribution, "DataParallel", lambda **given: given["devices"])
    monkeypatch.setattr(backend.keras.distribution, "set_distribution", lambda _: None)


@pytest.mark.parametrize(
    ("asked", "batch", "says"),
    [("0", 32, "a number from 1 on"), ("5", 40, "there are 4"), ("all", 30, "30 cannot be shared out to 4 devices")],
)
def test_a_number_that_cannot_be_had_is_refused(four_devices, asked, batch, says):
    with pytest.raises(UserError, match=says):
        backend.use_devices(asked, batch)


@pytest.mark.parametrize(("asked", "number"), [("all", 4), ("2", 2), ("1", 1)])
def test_a_batch_is_shared_out_evenly(four_devices, asked, number):
    assert backend.use_devices(asked, 32) == number


def test_a_batch_larger_than_the_training_images_is_all_of_them(four_devices, tmp_path):
    """Four devices could share 256 images, but not the 126 that there are."""
    with pytest.raises(UserError, match="126 cannot be shared out to 4 devices"):
        start(tmp_path, "--limit", "126", "--batch-size", "256", "--devices", "4")
