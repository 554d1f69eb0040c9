"""What the Makefile's targets let pass, with a stub in the place of Python."""

import shutil
import subprocess

import pytest
from conftest import PROJECT

STUB = """#!/bin/sh
echo "$1" >> "{log}"
case "$1" in export_model.py) exit {code};; esac
"""


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize(("code", "passes"), [(0, True), (1, True), (2, False)])
def test_a_demo_tolerates_an_export_that_lost_too_much_and_no_other_error(tmp_path, code, passes):
    log, stub = tmp_path / "log", tmp_path / "python"
    stub.write_text(STUB.format(log=log, code=code))
    stub.chmod(0o755)
    command = ["make", "-f", str(PROJECT / "Makefile"), "--old-file=.venv/installed-export", "demo", f"BIN={tmp_path}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode == 0) is passes, done.stderr
    assert ("gradcam.py" in log.read_text().split()) is passes, "the steps after it"
