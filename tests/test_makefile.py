"""What the demo does, with a stub in the place of Python."""

import re
import shutil
import subprocess

import pytest
from conftest import PROJECT

STUB = """#!/bin/sh
echo "$1" >> "{log}"
case "$1" in gradcam.py) exit {code};; esac
"""


def demo(folder, code):
    """`make demo` with a gradcam.py that ends with a code: the finished process, and the scripts that were run."""
    log, stub = folder / "log", folder / "python"
    stub.write_text(STUB.format(log=log, code=code))
    stub.chmod(0o755)
    command = ["make", "-f", str(PROJECT / "Makefile"), "--old-file=.venv/installed-export", "demo", f"BIN={folder}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done, log.read_text().split()


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_the_demo_ends_in_the_table_of_its_models_and_three_plots_that_there_are(tmp_path):
    done, scripts = demo(tmp_path, code=0)
    assert done.returncode == 0, done.stderr
    assert scripts[-1] == "model_comparison.py", "its table is the last thing that is printed"
    trained = {"cifar100_cnn.py", "mnist_classification.py", "resnet50_transfer_learning.py"}
    assert trained <= set(scripts)
    plots = re.findall(r"^ +(\w+\.png)", done.stdout, flags=re.MULTILINE)
    assert len(plots) == 3
    assert all((PROJECT / "output" / plot).is_file() for plot in plots), "of the names that the scripts write"


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_the_demo_ends_at_the_first_step_that_fails(tmp_path):
    done, scripts = demo(tmp_path, code=1)
    assert done.returncode and scripts[-1] == "gradcam.py"
