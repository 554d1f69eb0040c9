"""More than one device: the same loss curve as on one, nothing dropped; where it cannot be, one line says so."""

import json
import signal
from importlib.util import find_spec

import pytest
from processes import finish, history, model_digest, one_line, start_on_jax, until

import mnist_classification
from pipeline import errors
from pipeline.backend import keras
from pipeline.system import cores


def on_jax(folder, devices, *more):
    """A run on some of two logical devices."""
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    return start_on_jax(folder, "--devices", devices, *more, environment=two)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    """The folder of a run on one of two devices that nothing happens to."""
    folder = tmp_path_factory.mktemp("one")
    code, _, err = finish(on_jax(folder, "1"))
    assert code == 0, err
    return folder


@pytest.mark.long
@pytest.mark.skipif(not find_spec("jax"), reason="jax is not installed: pip install jax")
@pytest.mark.skipif(cores() < 2, reason="two logical devices wait for each other on one core")
def test_two_devices_give_the_loss_curve_of_one_and_measure_every_test_image(one_device, tmp_path, tried):
    code, _, err = finish(on_jax(tmp_path / "all", "all"))
    assert code == 0, err
    folders = (one_device, tmp_path / "all")
    results = [json.loads((folder / "custom_cnn_metrics.json").read_text()) for folder in folders]
    assert [result["hardware"]["devices"] for result in results] == [1, 2]
    curves = [history(folder) for folder in folders]
    largest = max(
        abs(float(one[name]) - float(two[name]))
        for one, two in zip(*curves, strict=True)
        for name in ("loss", "val_loss")
    )
    assert 0 <= largest < 1e-3
    for result in results:
        assert result["n_test"] == sum(map(sum, result["confusion_matrix"])) == 450
    code, _, err = finish(on_jax(tmp_path / "three", "3"))
    assert code == 2 and one_line(err, "--devices 3: there are 2")
    tried(
        "a run on two logical devices beside one on one (JAX)",
        times=1,
        largest_difference_of_a_loss=float(f"{largest:.1e}"),
    )


@pytest.mark.long
@pytest.mark.skipif(not find_spec("jax"), reason="jax is not installed: pip install jax")
def test_an_interrupted_run_on_jax_goes_on_with_the_numbers_of_a_whole_one(one_device, tmp_path, tried):
    process = on_jax(tmp_path, "1")
    until(process, "1/4")
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143
    assert finish(on_jax(tmp_path, "1", "--resume"))[0] == 0
    other = int(model_digest(tmp_path) != model_digest(one_device))
    assert not other and history(tmp_path) == history(one_device)
    tried("SIGTERM on JAX, then --resume", times=1, runs_that_ended_with_other_weights=other)


@pytest.mark.skipif(not find_spec("jax"), reason="jax is not installed: pip install jax")
@pytest.mark.skipif(cores() < 2, reason="two logical devices wait for each other on one core")
def test_a_dry_run_on_two_devices_ends_well(tmp_path):
    code, _, err = finish(on_jax(tmp_path, "all", "--dry-run"))
    assert code == 0, err


def test_a_backend_without_data_parallel_says_so_in_one_line(tmp_path, capsys, tried):
    if keras.backend.backend() == "jax":
        pytest.skip("this backend can")
    flags = ["--dataset", "digits", "--dry-run", "--output-dir", str(tmp_path), "--devices"]
    for devices, words in (
        ("2", ("--devices 2", "needs the JAX backend")),
        ("all", ("--devices all", "needs the JAX backend")),
        ("two", ("--devices", "must be a number")),
    ):
        assert errors.exit_code(lambda devices=devices: mnist_classification.main([*flags, devices])) == 2
        assert one_line(capsys.readouterr().err, *words)
    tried("more than one device on a backend that cannot", times=3, refused=3)
