"""One run on several machines, without the network: parts of batches, refusals, and what a lost host becomes."""

import atexit

import numpy as np
import pytest

from pipeline.backend import keras
from pipeline.data.batches import Batches
from pipeline.errors import Interrupted, UserError
from pipeline.train import hosts
from pipeline.train.hosts import Hosts
from pipeline.train.meeting import Meeting


def test_the_parts_of_all_hosts_are_the_batch_of_one_machine():
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (40, 4, 4, 1), dtype=np.uint8), np.arange(40) % 3

    def noise(images, rng, **_):
        return images + rng.normal(size=images.shape)

    batches = Batches(
        images, labels, batch_size=8, seed=0, epoch=1, augment=noise, class_weights=np.ones(3, np.float32), first=2
    )
    parts = [Hosts(2, index).part(batches) for index in (0, 1)]
    assert Hosts().part(batches) is batches and [len(part) for part in parts] == [3, 3]
    for step in range(3):
        for whole, one, other in zip(batches[step], parts[0][step], parts[1][step], strict=True):
            assert len(one) == len(other) == 4
            np.testing.assert_array_equal(np.concatenate([one, other]), whole)


def test_another_backend_is_refused():
    if keras.backend.backend() == "jax":
        pytest.skip("this backend can")
    with pytest.raises(UserError, match="KERAS_BACKEND=jax"):
        hosts.join(Meeting(("10.0.0.1", "10.0.0.2"), 2, 0))


def test_a_host_listens_where_the_others_reach_it_not_where_its_name_points_to(monkeypatch):
    _jax = pytest.importorskip("jaxlib._jax")
    asked = []
    monkeypatch.setattr(_jax, "make_gloo_tcp_collectives", lambda **settings: asked.append(settings))
    assert hosts.own_address("127.0.0.1:9000") == "127.0.0.1"
    hosts.listen_at("10.0.0.2")
    _jax.make_gloo_tcp_collectives(distributed_client=None)
    assert asked == [{"distributed_client": None, "hostname": "10.0.0.2"}]


@pytest.mark.parametrize("name", ["nowhere.invalid", "127.0.0.1:port"])
def test_a_host_that_cannot_be_found_is_one_line(name):
    with pytest.raises(UserError, match="cannot be reached"):
        hosts.own_address(name)


def test_a_name_that_leads_to_this_machine_alone_is_refused():
    assert hosts.own_address("127.0.0.2:9000").startswith("127.")
    with pytest.raises(UserError, match=r"2130706433 is 127\.0\.0\.1 here.*give its IP address"):
        hosts.own_address("2130706433:9000")  # another spelling of 127.0.0.1, as a hosts file would have


def test_one_machine_is_left_alone():
    alone = hosts.join(None)
    assert alone == hosts.join(Meeting(("10.0.0.1",), 1, 0)), "a scheduler's job of one node"
    assert alone.first and alone.share({"a": 1}, [], None) == {"a": 1}
    with pytest.raises(ValueError, match="its own"), alone.all_there():
        raise ValueError("its own")


@pytest.mark.parametrize(
    ("error", "becomes", "code"),
    [
        (ValueError("Gloo all-reduce failed: connection closed"), UserError, 2),
        (UserError("the loss is nan"), UserError, 2),
        (Interrupted(143, "after step 3"), Interrupted, 143),
    ],
)
def test_a_host_that_stops_does_not_wait_for_the_others(error, becomes, code, monkeypatch):
    """JAX' own end of a process waits for all of them."""
    ends = []
    monkeypatch.setattr(atexit, "register", lambda *call: ends.append(call))
    several = Hosts(2, 0)
    with pytest.raises(becomes) as raised, several.all_there():
        raise error
    assert ends == [(hosts._end, code, None)]
    if isinstance(error, ValueError):
        assert "another host has ended" in str(raised.value) and "--resume" in str(raised.value)
    else:
        assert raised.value is error
