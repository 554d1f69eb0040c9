"""A run's saved state: put back exactly, refused for another run, and survived when it is damaged."""

import numpy as np
import pytest

from pipeline.backend import keras
from pipeline.errors import UserError
from pipeline.train import checkpoint

CONFIG = {"seed": 0, "learning_rate": 0.1, "files": {"a.npz": "123"}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "prefix_checkpoint.npz"


def compiled():
    pixels = keras.Input((3,))
    model = keras.Model(pixels, keras.layers.Dense(2)(keras.layers.Dropout(0.5)(pixels)))
    model.compile(keras.optimizers.Adam(0.1), loss="mse", jit_compile=False)
    return model


def step(model):
    model.train_on_batch(np.arange(12.0).reshape(4, 3), np.ones((4, 2)))


def record(epochs):
    return {"config": CONFIG, "history": [{"epoch": e + 1} for e in range(epochs)], "wall_seconds": 1.5}


def numbers(model):
    return [*model.get_weights(), *(np.array(variable) for variable in model.optimizer.variables)]


@pytest.fixture
def two_states(path):
    """States after one and after two epochs; returns the numbers of each."""
    model, seen = compiled(), []
    for epochs in (1, 2):
        step(model)
        checkpoint.save(path, model, record(epochs), best=None)
        seen.append(numbers(model))
    return seen


def assert_equal(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[content.index(b"weight_0.npy") + 160] ^= 0xFF  # past the member's header, in its numbers
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def drop_the_record(path):
    np.savez(path, weight_0=np.zeros(3))


DAMAGE = [truncate, flip_a_byte, empty, drop_the_record]


def test_nothing_there_is_nothing_to_resume(path):
    assert checkpoint.restore(path, compiled(), CONFIG) is None
    assert checkpoint.epochs_done(path) == 0


def test_a_state_brings_back_weights_optimizer_history_and_best_weights(path):
    model = compiled()
    step(model)
    best = [weight + 1 for weight in model.get_weights()]
    checkpoint.save(path, model, record(3), best)
    fresh = compiled()
    found, found_best = checkpoint.restore(path, fresh, CONFIG)
    assert found == record(3)
    assert_equal(numbers(fresh), numbers(model))
    assert_equal(found_best, best)
    assert checkpoint.epochs_done(path) == 3
    step(model), step(fresh)
    assert_equal(numbers(fresh), numbers(model))


def test_a_state_without_best_weights_brings_none_back(path, two_states):
    assert checkpoint.restore(path, compiled(), CONFIG)[1] is None


def test_the_newest_state_is_taken(path, two_states, capsys):
    model = compiled()
    assert checkpoint.restore(path, model, CONFIG)[0] == record(2)
    assert_equal(numbers(model), two_states[1])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_gives_way_to_the_one_before_it_with_a_warning(path, two_states, damage, capsys):
    damage(path)
    model = compiled()
    assert checkpoint.restore(path, model, CONFIG)[0] == record(1)
    assert_equal(numbers(model), two_states[0])
    warning = capsys.readouterr().err
    assert "warning" in warning and str(path) in warning and warning.count("\n") == 1


@pytest.mark.parametrize("damage", DAMAGE)
def test_epochs_done_never_counts_more_epochs_than_restore_brings_back(path, two_states, damage):
    assert checkpoint.epochs_done(path) == 2
    damage(path)
    assert checkpoint.epochs_done(path) <= 1


def test_a_state_that_vanished_between_two_renames_gives_way_to_the_one_before_it(path, two_states):
    path.unlink()
    assert checkpoint.restore(path, compiled(), CONFIG)[0] == record(1)


@pytest.mark.parametrize("damage", DAMAGE)
def test_two_damaged_states_are_bad_input(path, two_states, damage):
    damage(path)
    damage(checkpoint.previous(path))
    with pytest.raises(UserError, match="damaged"):
        checkpoint.restore(path, compiled(), CONFIG)


@pytest.mark.parametrize(
    ("name", "value"), [("seed", 1), ("learning_rate", 0.2), ("files", {"a.npz": "456"}), ("new_setting", 5)]
)
def test_another_config_is_refused_naming_the_setting_and_both_values(path, two_states, name, value):
    model = compiled()
    before = model.get_weights()
    with pytest.raises(UserError) as refused:
        checkpoint.restore(path, model, {**CONFIG, name: value})
    changed = [known for known in (*CONFIG, "new_setting") if known in str(refused.value)]
    assert changed == [name]
    assert repr(CONFIG.get(name)) in str(refused.value) and repr(value) in str(refused.value)
    assert_equal(model.get_weights(), before)


def test_the_state_of_another_network_is_refused(path, two_states):
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(7)])
    other.compile(keras.optimizers.SGD(0.1), "mse")
    with pytest.raises(UserError, match="another network"):
        checkpoint.restore(path, other, CONFIG)


def test_a_failed_save_leaves_the_last_state_whole(path, two_states, monkeypatch):
    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(UserError, match="No space left"):
        checkpoint.save(path, compiled(), record(3), best=None)
    monkeypatch.undo()
    assert checkpoint.restore(path, compiled(), CONFIG)[0] == record(2)
    assert sorted(file.name for file in path.parent.iterdir()) == sorted([path.name, checkpoint.previous(path).name])


def test_remove_leaves_nothing_behind(path, two_states):
    checkpoint.remove(path)
    assert list(path.parent.iterdir()) == []
    checkpoint.remove(path)
