"""A run that is killed, interrupted, left without its disk or given a rate that explodes loses nothing finished."""

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import PROJECT
from matplotlib.figure import Figure
from processes import AS_NOBODY, NOBODY, finish, history, is_root, leftovers, model_digest, one_line, start, until

import mnist_classification
from pipeline import errors
from pipeline.backend import keras
from pipeline.evaluate import evaluation, plots
from pipeline.models import saved_model
from pipeline.train import checkpoint

EPOCHS = 30
KILLS = 5  # of each of two runs
HEADER = "epoch "


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing happens to; its epochs' wall time is in seconds."""
    folder = tmp_path_factory.mktemp("whole")
    process = start(folder, "--epochs", str(EPOCHS))
    until(process, f"1/{EPOCHS} ")
    began = time.monotonic()
    until(process, f"{EPOCHS}/{EPOCHS} ")
    epoch_seconds = (time.monotonic() - began) / (EPOCHS - 1)
    assert finish(process)[0] == 0
    about = {"digest": model_digest(folder), "history": history(folder), "epoch_seconds": epoch_seconds}
    return SimpleNamespace(folder=folder, **about)


def wait_at_random(process, rng, epoch_seconds):
    """Wait for a random moment of the first epochs that a run does; how many it printed."""
    until(process, HEADER)
    epochs = rng.randint(0, 3)
    for _ in range(epochs):
        process.stdout.readline()
    time.sleep(rng.uniform(0, epoch_seconds))
    return epochs


def epochs_printed(text):
    return sum(line.split()[0].endswith(f"/{EPOCHS}") for line in text.splitlines() if line.strip())


def two_at_a_time(run_in, folder):
    """What a function returns for each of two folders; while one run starts, the other has the second core."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run_in, (folder / "a", folder / "b"), (0, 1)))


@pytest.mark.long
def test_a_run_killed_at_random_moments_ends_with_the_very_same_weights(whole, tmp_path, tried):
    def printed_epochs(folder, seed):
        """Of a run that is killed KILLS times, and then left alone."""
        rng, printed = random.Random(seed), 0
        for _ in range(KILLS):
            process = start(folder, "--epochs", str(EPOCHS), "--resume")
            printed += wait_at_random(process, rng, whole.epoch_seconds)
            assert process.poll() is None, "the run was over before it was killed often enough"
            process.kill()
            printed += epochs_printed(process.communicate()[0])
        code, out, err = finish(start(folder, "--epochs", str(EPOCHS), "--resume"))
        assert (code, err) == (0, "")
        assert not leftovers(folder), "a temporary file was left behind"
        return printed + epochs_printed(out)

    printed = two_at_a_time(printed_epochs, tmp_path)
    folders = list(tmp_path.iterdir())
    other = sum(model_digest(folder) != whole.digest for folder in folders)
    assert not other and all(history(folder) == whole.history for folder in folders)
    tried(
        "kill -9 at a random moment, then --resume",
        times=KILLS * len(folders),
        runs_that_ended_with_other_weights=other,
        epochs_computed_twice=sum(printed) - EPOCHS * len(folders),
    )


@pytest.mark.long
def test_ctrl_c_and_sigterm_at_random_moments_lose_no_step(whole, tmp_path, tried):
    def codes_of(folder, seed):
        """Of a run that is interrupted by each signal, and then left alone."""
        rng, codes = random.Random(seed), []
        for sent in (signal.SIGINT, signal.SIGTERM):
            process = start(folder, "--epochs", str(EPOCHS), "--resume")
            wait_at_random(process, rng, whole.epoch_seconds)
            process.send_signal(sent)
            code, _, err = finish(process)
            codes.append(code)
            assert len(err.strip().splitlines()) == 1 and "go on with: python" in err and "--resume" in err
        assert finish(start(folder, "--epochs", str(EPOCHS), "--resume"))[0] == 0
        return codes

    assert two_at_a_time(codes_of, tmp_path) == [[130, 143]] * 2
    other = sum(model_digest(folder) != whole.digest for folder in tmp_path.iterdir())
    assert not other
    what = "Ctrl-C (exit code 130) or SIGTERM (143) at a random moment, then --resume"
    tried(what, times=4, runs_that_ended_with_other_weights=other)


@pytest.mark.long
def test_the_recorded_seed_and_config_repeat_a_run_bit_for_bit(whole, tmp_path, tried):
    assert finish(start(tmp_path, "--config", str(whole.folder / "custom_cnn_metrics.json")))[0] == 0
    other = int(model_digest(tmp_path) != whole.digest)
    assert not other and history(tmp_path) == whole.history
    what = "a run repeated from the seed and config in its metrics.json"
    tried(what, times=1, runs_that_ended_with_other_weights=other)


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no folder with an open file in it")
def test_a_second_run_in_the_folder_is_refused_and_a_folder_that_vanishes_ends_a_run_in_one_line(tmp_path, tried):
    folder = tmp_path / "out"
    first = start(folder, "--epochs", "5000")
    until(first, HEADER)
    code, _, err = finish(start(folder, "--epochs", "5000"))
    assert code == 2 and one_line(err, "another run is writing to")
    tried("a second run in the folder of a living one", times=1, refused=1)
    shutil.rmtree(folder)
    code, _, err = finish(first)
    assert code == 2 and one_line(err, str(folder), "No such file")
    tried("the output folder removed while a run writes to it", times=1, ended_with_one_line=1)


def test_a_folder_that_turns_read_only_ends_the_run_and_the_earlier_model_still_loads(tmp_path, tried):
    if is_root() and not shutil.which("setpriv"):
        pytest.skip("a read-only folder does not stop root, and there is no setpriv to be somebody else")
    user = AS_NOBODY if is_root() else ()
    if is_root() and subprocess.run([*user, "test", "-r", str(PROJECT / "mnist_classification.py")]).returncode:
        pytest.skip("the project lies in a folder that only root may enter, so nobody else can run it")
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to others
        Path(place).chmod(0o755)
        folder = Path(place) / "out"
        folder.mkdir()
        model = tiny_model(folder / "custom_cnn_model.h5")
        if is_root():
            shutil.chown(folder, NOBODY, NOBODY)
        process = start(folder, "--epochs", "5000", prefix=user)
        until(process, "2/5000")
        folder.chmod(0o555)
        code, _, err = finish(process)
        assert code == 2 and one_line(err, "cannot write", "Permission denied")
        assert checkpoint.epochs_done(folder / "custom_cnn_checkpoint.npz") >= 1
        assert same_weights(saved_model.load(folder / "custom_cnn_model.h5"), model)
        code, _, err = finish(start(folder, prefix=user))
        assert code == 2 and one_line(err, "cannot write to", "choose another --output-dir")
        folder.chmod(0o755)
    tried("the folder turned read-only (as a user who is not root)", times=2, ended_with_one_line=2)


def tiny_model(path):
    model = mnist_classification.build_model(mnist_classification.Config(filters=2))
    about = {"prefix": "custom_cnn", "dataset": "digits", "title": "t", "class_names": list("0123456789")}
    saved_model.save(model, path, image_shape=(28, 28, 1), **about)
    return model


def same_weights(one, other):
    return all((a == b).all() for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = is_root() and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("a small file system cannot be mounted here (not root, or not allowed)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder):
    """Write until the disk is really full."""
    with open(folder / "ballast", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 12))
        except OSError as error:
            assert error.strerror == "No space left on device"


def dry_run(folder, monkeypatch, capsys, *flags, full_at=None):
    """Exit code, stderr and the files written, in order; the disk is filled just before one of them."""
    usual, written = tempfile.mkstemp, []

    def mkstemp(*args, prefix, **kwargs):
        if kwargs.get("dir") == folder:
            written.append(prefix.strip("."))
            if len(written) == full_at:
                fill(folder)
        return usual(*args, prefix=prefix, **kwargs)

    keras.config.set_dtype_policy("float32")
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "mkstemp", mkstemp)
        flags = ["--dataset", "digits", "--filters", "2", "--dry-run", "--output-dir", str(folder), *flags]
        code = errors.exit_code(lambda: mnist_classification.main(flags))
    (folder / "ballast").unlink(missing_ok=True)
    return code, capsys.readouterr().err, written


def disk_full_at(chosen, folder, monkeypatch, capsys, tried):
    """Fill the disk at each write of a run whose file's name begins with one of `chosen`."""
    code, _, written = dry_run(folder, monkeypatch, capsys)
    assert code == 0
    # Stored test probabilities only save time: without room for them a run goes on, to its next file.
    places = [
        place
        for place, name in enumerate(written, 1)
        if name.startswith(chosen) and not name.endswith("_test_probabilities.npz")
    ]
    assert len(places) >= len(chosen)
    replaced = 0
    for place in places:
        seed = str(place)
        earlier = saved_model.load(folder / "custom_cnn_model.h5").get_weights()
        code, err, names = dry_run(folder, monkeypatch, capsys, "--seed", seed, full_at=place)
        assert code == 2 and one_line(err, "No space left on device", written[place - 1]), (names[-1], err)
        later = saved_model.load(folder / "custom_cnn_model.h5").get_weights()
        untouched = all((a == b).all() for a, b in zip(earlier, later, strict=True))
        assert untouched or "custom_cnn_model.h5" in names[:-1]
        replaced += not untouched
        assert not leftovers(folder), "a temporary file was left behind"
        resume = ["--resume"] if list(folder.glob("*_checkpoint.npz")) else []
        code, err, _ = dry_run(folder, monkeypatch, capsys, "--seed", seed, *resume)
        assert (code, err) == (0, ""), "with room again, the run goes on"
    what = "the disk full at a write of a run (a file system of 4 MB)"
    tried(what, times=len(places), earlier_model_whole=len(places) - replaced, new_model_whole=replaced)


def test_a_disk_that_is_full_at_the_checkpoint_or_the_model_ends_the_run_in_one_line(
    small_disk, eagerly, monkeypatch, capsys, tried
):
    for module, name in ((plots, "training_curves"), (evaluation, "draw")):
        monkeypatch.setattr(module, name, lambda *_: None)  # most of the time of a dry run
    disk_full_at(("custom_cnn_checkpoint.npz", "custom_cnn_model.h5"), small_disk, monkeypatch, capsys, tried)


@pytest.mark.long
def test_a_disk_that_is_full_at_any_write_ends_the_run_in_one_line(small_disk, eagerly, monkeypatch, capsys, tried):
    # A picture's bytes are written as always, but nothing is drawn for them: that is most of the time of a dry run.
    monkeypatch.setattr(Figure, "savefig", lambda _, path, **options: Path(path).write_bytes(bytes(30_000)))
    disk_full_at(("",), small_disk, monkeypatch, capsys, tried)


@pytest.mark.parametrize("rate", ["1e6", "1e9"])
def test_a_loss_that_explodes_ends_the_run_within_the_epoch(tmp_path, rate, capsys, tried):
    flags = ["--dataset", "digits", "--limit", "1000", "--filters", "2", "--batch-size", "16", "--epochs", "9"]
    flags += ["--learning-rate", rate, "--warm-up", "0", "--precision", "float32", "--output-dir", str(tmp_path)]
    assert errors.exit_code(lambda: mnist_classification.main(flags)) == 2
    err = capsys.readouterr().err
    assert one_line(err, "at step", "of epoch 1,", "learning rate") and not list(tmp_path.glob("*.h5"))
    tried("a learning rate at which the loss explodes", times=1, stopped_within_the_epoch=1)
