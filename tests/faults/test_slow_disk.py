"""A run on a disk as slow as a floppy's is killed amid a write, goes on, and ends as on a fast one."""

import os
import subprocess
import time

import pytest
from processes import control_group, finish, history, is_root, leftovers, model_digest, start, until, wait_for

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not is_root(), reason="only root can mount a disk of its own and slow it down"),
]
SPEED = 20_000  # bytes a second: a checkpoint of this run takes a second or two
EPOCHS = 4
UNDER_WAY = ".custom_cnn_checkpoint.npz.*"  # until all of it is on the disk
WRITE = ("dd", "if=/dev/zero", "bs=4k", "count=20", "conv=fsync")


@pytest.fixture
def disk(tmp_path):
    """A file system in a file, of 32 MB, which is a device of its own."""
    image, folder = tmp_path / "image", tmp_path / "disk"
    image.write_bytes(b"")
    os.truncate(image, 32 * 2**20)
    folder.mkdir()
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file can be mounted as a disk here ({getattr(error, 'stderr', None) or error})")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def slow(disk):
    """A control group whose processes write to this disk at SPEED, see processes.control_group()."""
    device = os.stat(disk).st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    version1 = ("blkio.throttle.write_bps_device", f"{name} {SPEED}")
    return control_group("blkio", version1, ("io.max", f"{name} wbps={SPEED}"))


def bytes_a_second(disk, prefix=()):
    """The speed of a write that is brought to the disk."""
    file, began = disk / "written", time.monotonic()
    subprocess.run([*prefix, *WRITE, f"of={file}"], check=True, capture_output=True)
    speed = file.stat().st_size / (time.monotonic() - began)
    file.unlink()
    return speed


def test_a_run_on_a_slow_disk_is_killed_amid_a_write_goes_on_and_ends_as_on_a_fast_one(disk, tmp_path, tried):
    fast, out = tmp_path / "fast", disk / "out"
    flags = ("--epochs", str(EPOCHS))
    assert finish(start(fast, *flags))[0] == 0
    with slow(disk) as prefix:
        assert bytes_a_second(disk) > 10 * SPEED, "the disk itself is fast"
        speed = bytes_a_second(disk, prefix)
        assert speed < 1.2 * SPEED
        process = start(out, *flags, prefix=prefix)
        until(process, f"1/{EPOCHS} ")
        wait_for(lambda: list(out.glob(UNDER_WAY)), process)
        process.kill()
        process.communicate()
        assert list(out.glob(UNDER_WAY)), "it was killed before the checkpoint had its name"
        began = time.monotonic()
        code, said, err = finish(start(out, *flags, "--resume", prefix=prefix))
        seconds = time.monotonic() - began
    assert (code, err) == (0, "")
    written = sum(path.stat().st_size for path in out.iterdir())
    assert seconds > written / (1.2 * SPEED), "the run's own files were written at that speed"
    assert f" {EPOCHS}/{EPOCHS} " in said and "test accuracy" in said
    other = int(model_digest(out) != model_digest(fast))
    assert not other and history(out) == history(fast)
    assert not leftovers(out)
    tried(
        "a run on a slow disk, killed amid the write of a checkpoint, then --resume",
        times=1,
        kilobytes_a_second=round(speed / 1000),
        runs_that_ended_with_other_weights=other,
    )
