"""A folder's lock: held against another process, and let go of when that process is killed."""

import re
import subprocess
import sys

import pytest
from conftest import PROJECT

from pipeline import atomic_io
from pipeline.errors import UserError

HOLDER = """
import sys, time
from pathlib import Path
from pipeline import atomic_io
held = atomic_io.lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path):
    path = tmp_path / "run.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=re.escape(f"another run is writing to {tmp_path}")):
            atomic_io.lock(path)
        process.kill()
        process.wait()
        atomic_io.lock(path).release()
