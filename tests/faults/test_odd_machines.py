"""A run and an answer on machines that are unlike the developer's, each played on this one."""

import contextlib
import os
import platform
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT
from PIL import Image
from processes import SMALL, control_group, is_root

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(platform.system() != "Linux", reason="these machines are played with Linux' means"),
]
# A clock that jumps back by a day three seconds after the start, and an hour whenever it is asked again.
CLOCK = """
import pathlib, time
_time, _begun, _asked = time.time, time.monotonic(), [0]
def jumping():
    late = time.monotonic() - _begun > 3
    _asked[0] += late
    if late:
        pathlib.Path(__file__).with_name("jumped").touch()
    return _time() - 86_400 * late - 3_600 * _asked[0]
time.time = jumping
"""
# A run and an answer in one process: half of the time of two is the import of TensorFlow.
BOTH = """
import sys
import mnist_classification, predict
from pipeline import errors
folder, *flags = sys.argv[1:]
def main():
    mnist_classification.main([*flags, "--output-dir", folder])
    return predict.main([f"{folder}/custom_cnn_model.h5", f"{folder}/picture.png"])
sys.exit(errors.exit_code(main))
"""
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && cd "$0" && ! touch x 2>&- && exec "$@"'
FOUR_GB = str(4 * 2**30)
ENVIRONMENTS = {
    "one core": {},
    "4 GB of memory": {},
    "no AVX-512": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "no oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "LANG=C without UTF-8": {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "a Turkish locale": {"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8", "LANGUAGE": "tr"},
    "a time zone 14 hours ahead": {"TZ": "Pacific/Kiritimati"},
    "a home that does not exist": {"HOME": "/proc/nonexistent/home"},
    "a clock that jumps back": {},
    "a terminal of 40 columns": {"COLUMNS": "40", "TERM": "xterm"},
    "a folder with spaces, quotes and emoji": {},
    "a source tree that cannot be written to": {},
}


def memory_of_4_gb():
    """A control group of 4 GB, see control_group()."""
    return control_group("memory", ("memory.limit_in_bytes", FOUR_GB), ("memory.max", FOUR_GB))


def on(machine: str, out: Path, folder: Path) -> tuple[int, str]:
    """Exit code and output, both streams together, of BOTH on such a machine.

    Args:
        out: folder with the picture, where the run writes to; folder: for what plays the machine.
    """
    environment = {name: value for name, value in os.environ.items() if name != "DATA_DIR"}
    environment |= ENVIRONMENTS[machine]
    command = [sys.executable, "-c", BOTH, str(out), *SMALL, "--epochs", "2"]
    options = {"env": environment, "cwd": PROJECT, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    if machine == "one core":
        command = ["taskset", "-c", "0", *command]
    elif machine == "a clock that jumps back":
        (folder / "sitecustomize.py").write_text(CLOCK)
        environment["PYTHONPATH"] = str(folder)
    elif machine == "a Turkish locale":
        made = ["localedef", "-i", "tr_TR", "-f", "UTF-8", str(folder / "tr_TR.UTF-8")]
        if not shutil.which("localedef") or subprocess.run(made).returncode:
            pytest.skip("the Turkish locale cannot be made here")
        environment["LOCPATH"] = str(folder)
    elif machine == "a source tree that cannot be written to":
        command = ["unshare", "--mount", "sh", "-c", READ_ONLY, str(PROJECT), *command]
    elif machine == "a terminal of 40 columns":
        return in_terminal(command, environment)
    with memory_of_4_gb() if machine == "4 GB of memory" else contextlib.nullcontext([]) as prefix:
        done = subprocess.run([*prefix, *command], timeout=900, **options)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def in_terminal(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """The same in a terminal."""
    ours, theirs = pty.openpty()
    said = bytearray()
    process = subprocess.Popen(
        command, env=environment, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    with contextlib.suppress(OSError):  # Linux' way to say that the other side is closed
        while part := os.read(ours, 10_000):
            said += part
    os.close(ours)
    return process.wait(), said.decode("utf-8", "replace")


@pytest.mark.parametrize("machine", ENVIRONMENTS)
def test_a_run_and_an_answer(machine, tried):
    if machine.startswith("a source tree") and not (is_root() and shutil.which("unshare")):
        pytest.skip("only root can mount a folder so that it cannot be written to")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        out = folder / "out"
        if machine.startswith("a folder with"):
            out = folder / 'it\'s a "déjà vu" 🙂 folder'
        out.mkdir()
        Image.fromarray(np.uint8(np.eye(28)[:, ::-1] * 255)).save(out / "picture.png")
        code, said = on(machine, out, folder)
        assert code == 0 and "Traceback" not in said, said
        assert re.search(r"test accuracy 0\.\d{4}", said)
        if machine == "no AVX-512":
            assert re.search(r"^float32, ", said, re.MULTILINE)
        if machine == "one core":
            assert ", 1 core" in said
        if machine == "a clock that jumps back":
            assert (folder / "jumped").exists()
        assert re.search(r"picture(\.png)? +\d+\.\d%", said), said
    tried(f"a run and an answer with {machine}", times=1, ended_well=1)
