"""A folder's lock: held against another process, and let go of when that process is killed."""

import re
import subprocess
import sys

import pytest
from conftest import PROJECT

from pipeline import lock
from pipeline.errors import BadInput

HOLDER = """
import sys, time
from pathlib import Path
from pipeline import lock
held = lock.hold(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path):
    path = tmp_path / "run.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BadInput, match=re.escape(f"another run is writing to {tmp_path}")):
            lock.hold(path)
        process.kill()
        process.wait()
        lock.hold(path).close()
