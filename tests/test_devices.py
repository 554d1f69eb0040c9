"""Which numbers of devices are refused, on a made-up machine with four of them."""

import pytest
from tiny_run import start

from pipeline import devices
from pipeline.errors import BadInput

FOUR = [f"cpu:{number}" for number in range(4)]


@pytest.fixture
def four_devices(monkeypatch):
    monkeypatch.setattr(devices.keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(devices.keras.distribution, "list_devices", lambda: FOUR)
    monkeypatch.setattr(devices.keras.distribution, "DataParallel", lambda **given: given["devices"])
    monkeypatch.setattr(devices.keras.distribution, "set_distribution", lambda _: None)


@pytest.mark.parametrize(
    ("asked", "batch", "says"),
    [("0", 32, "a number from 1 on"), ("5", 40, "there are 4"), ("all", 30, "30 cannot be shared out to 4 devices")],
)
def test_a_number_that_cannot_be_had_is_refused(four_devices, asked, batch, says):
    with pytest.raises(BadInput, match=says):
        devices.use(asked, batch)


@pytest.mark.parametrize(("asked", "number"), [("all", 4), ("2", 2), ("1", 1)])
def test_a_batch_is_shared_out_evenly(four_devices, asked, number):
    assert devices.use(asked, 32) == number


def test_a_batch_larger_than_the_training_images_is_all_of_them(four_devices, tmp_path):
    """Four devices could share 256 images, but not the 126 that there are."""
    with pytest.raises(BadInput, match="126 cannot be shared out to 4 devices"):
        start(tmp_path, "--limit", "126", "--batch-size", "256", "--devices", "4")
