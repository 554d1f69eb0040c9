"""Screenshots of the page for docs/: a drawn 7, on a desktop's screen in light and on a phone's in dark.

Each in English and, with _tr in its name, in Turkish.

    python ui/screenshots.py

Needs pip install -e ".[dev]", Chromium and the trained models in output/; takes the flags of ui/app.py.
"""

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

from pipeline import PROJECT
from pipeline.errors import UserError, exit_code

LOCALES = {"": "en-US", "_tr": "tr-TR"}  # end of the file's name -> the browser's, from which the page takes its own
SEVEN = ((0.28, 0.22), (0.72, 0.22), (0.45, 0.82))  # corners of the strokes, in parts of the canvas


@contextlib.contextmanager
def server(*flags: str, environment: dict[str, str] | None = None, seconds: float = 180):
    """The page in a process of its own on a free port; yields its address.

    Raises:
        UserError: it ended or did not answer in time; with the last line it said.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(PROJECT / "ui" / "app.py"), *flags, "--port", str(port)]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment, cwd=PROJECT)
        try:
            end = time.monotonic() + seconds
            while not answers(address):
                if process.poll() is not None or time.monotonic() > end:
                    said.seek(0)
                    last = (said.read().strip().splitlines() or ["nothing said"])[-1]
                    raise UserError(f"no page at {address}: {last.removeprefix('error: ')}")
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(address: str) -> bool:
    """Whether a page is there."""
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except urllib.error.HTTPError:  # it asks for a password
        return True
    except OSError:
        return False
    return True


def chromium() -> str | None:
    """Chromium as the system has it."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextlib.contextmanager
def browser(camera: Path | None = None):
    """Chromium without a window; UserError where it or Playwright is missing.

    Args:
        camera: a .y4m or .mjpeg film that stands in for its camera, over and over.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ModuleNotFoundError as error:
        raise UserError('this needs Playwright; run: pip install -e ".[dev]"') from error
    # --no-sandbox: Chromium refuses to start as root (in a container) with it. It sees our page alone.
    flags = ["--no-sandbox"]
    if camera:
        flags += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        flags.append(f"--use-file-for-fake-video-capture={camera}")
    with sync_playwright() as playwright:
        try:
            one = playwright.chromium.launch(executable_path=chromium(), args=flags)
        except Error as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"Chromium cannot be started ({reason}); install it with the system's packages") from error
        yield one
        one.close()


def film(path: Path, pictures: list[np.ndarray], rate: int = 30) -> Path:
    """Write gray pictures (h, w) uint8, h and w even, as a .y4m film of this many a second, for browser()."""
    height, width = pictures[0].shape
    gray = bytes([128]) * (height * width // 2)
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420jpeg\n".encode())
        for picture in pictures:
            file.write(b"FRAME\n" + picture.tobytes() + gray)
    return path


def on_canvas(page, places) -> list[tuple[float, float]]:
    """Where fractions of the canvas' width and height lie in the window, in pixels."""
    canvas = page.locator("#draw canvas").first
    canvas.hover()  # once it lies still: the page moves while it loads
    box = canvas.bounding_box()
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]


def draw(page, corners=SEVEN) -> float:
    """Draw straight strokes on the page's canvas with the mouse; returns when the pen was lifted, in seconds."""
    points = on_canvas(page, corners)
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=12)
    lifted = time.perf_counter()
    page.mouse.up()
    return lifted


def take(one, address: str, path: Path, **context) -> None:
    """One screenshot of the page after a 7 was drawn."""
    page = one.new_page(**context)
    page.goto(address)
    page.locator("#draw canvas").first.wait_for()
    draw(page)
    page.locator("#answer1 figure").first.wait_for(timeout=300000)  # the first answer loads the model
    page.wait_for_timeout(1000)
    page.screenshot(path=path)
    page.close()


def main() -> int:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return 0
    docs = PROJECT / "docs"
    docs.mkdir(exist_ok=True)
    screens = {"light": {"width": 1280, "height": 1180}, "dark": {"width": 390, "height": 1180}}
    with server(*sys.argv[1:]) as address, browser() as one:
        for suffix, locale in LOCALES.items():
            for colors, screen in screens.items():
                path = docs / f"ui_{colors}{suffix}.png"
                take(one, address, path, viewport=screen, color_scheme=colors, locale=locale)
                print(path)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
