"""The README's walk-through, command by command as it stands there, on a folder of pictures that the test makes."""

import contextlib
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import PROJECT
from PIL import Image, ImageDraw

from ui import screenshots

HEADING = "## Your own pictures, from a folder to a page"
FIRST_BLOCK = re.compile(r"(?:^ {4}python .*\n)+", re.MULTILINE)


def commands() -> list[list[str]]:
    """The script and the flags of each command of the walk-through."""
    section = (PROJECT / "README.md").read_text(encoding="utf-8").split(HEADING)[1]
    block = FIRST_BLOCK.search(section)[0]
    return [shlex.split(line, comments=True)[1:] for line in block.splitlines()]


def pets(folder) -> None:
    """Three classes of 15 pictures: a disc, a square or a cross of any color on a darker ground."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog", "fish"):
        (folder / name).mkdir(parents=True)
        for k in range(15):
            image = Image.new("RGB", (96, 80), tuple(map(int, rng.integers(0, 90, 3))))
            draw, ink = ImageDraw.Draw(image), tuple(map(int, rng.integers(140, 256, 3)))
            x, y = map(int, rng.integers(10, 30, 2))
            if name == "cat":
                draw.ellipse((x, y, x + 40, y + 40), fill=ink)
            elif name == "dog":
                draw.rectangle((x, y, x + 40, y + 40), outline=ink, width=4)
            else:
                draw.line((x, y, x + 40, y + 40), fill=ink, width=6)
                draw.line((x, y + 40, x + 40, y), fill=ink, width=6)
            image.save(folder / name / f"{k}.jpg")


@contextlib.contextmanager
def page(command, folder, environment):
    """The page's address while it is served."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([*command, "--port", str(port)], cwd=folder, env=environment) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def test_the_walk_through_of_the_readme_works_from_a_folder_to_the_page(tmp_path):
    pytest.importorskip("gradio", reason='optional: pip install -e ".[ui]"')
    pytest.importorskip("tf2onnx", reason='optional: pip install -e ".[export]"')
    from gradio_client import Client, handle_file

    pets(tmp_path / "data" / "pets")
    photo = tmp_path / "photo.jpg"
    (tmp_path / "data" / "pets" / "cat" / "0.jpg").rename(photo)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment["DATA_DIR"] = str(tmp_path / "data")  # in a clone it is the folder to look in without this
    *steps, last = commands()
    for script, *flags in steps:
        command = [sys.executable, str(PROJECT / script), *flags]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        exports_differ = script == "export_model.py" and done.returncode == 1  # int8 of so short a training may
        assert done.returncode == 0 or exports_differ, f"{script}: {done.stderr[-2000:]}"
    assert re.search(r"photo\.jpg.*(cat|dog|fish)", done.stdout)
    output = tmp_path / "output" / "pets"
    metrics = json.loads((output / "cifar100_metrics.json").read_text())
    assert metrics["class_names"] == ["cat", "dog", "fish"] and metrics["image_shape"] == [64, 64, 3]
    for name in ("reliability.png", "errors.json", "gradcam.png"):
        assert (output / f"cifar100_{name}").is_file()

    assert last[0] == "ui/app.py"
    with page([sys.executable, str(PROJECT / last[0]), *last[1:]], tmp_path, environment) as address:
        end = time.monotonic() + 120
        while not screenshots.answers(address) and time.monotonic() < end:
            time.sleep(0.2)
        visitor = Client(address, verbose=False)
        asked = (metrics["title"], "", "grad-cam", "en")
        answer = visitor.predict(handle_file(photo), *asked, api_name="/photo")
        assert any(f'data-class="{name}"' in answer[1] for name in metrics["class_names"])
        visitor.predict("en", "cat", api_name="/wrong_answer1")
    assert len(list((tmp_path / "data" / "collected-pets" / "cat").glob("*.png"))) == 1
