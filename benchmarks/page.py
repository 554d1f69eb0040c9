"""How long the page takes to answer a drawn digit, for one visitor in a browser and for twenty at once, and the camera.

    python benchmarks/page.py            # about a minute and a half

A 7 is drawn again and again in Chromium, on the page as it opens: the first two digit models of output/ side by side
with Grad-CAM, from lifting the pen to the plots on the screen. The first drawing, which loads the models, is reported
apart. Then a film of a 7 stands in for the camera, and the pictures that the first model answers in a second are
counted, without heat maps and with them. Last, twenty visitors send a drawing at the same time, without browsers.
Writes benchmark_page.json.
"""

from __future__ import annotations

import base64
import io
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks import results
from pipeline.config import flag, parse
from pipeline.data.pictures import are_digits
from pipeline.errors import exit_code
from pipeline.explain import explainer
from pipeline.train.identity import OUTPUT
from ui import models

ROUNDS = 20
VISITORS, VISITS = 20, 5
CAMERA_SECONDS = 10


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    output_dir: str | None = flag(None, "folder with the models, and for the result; else output/", recorded=False)


def opened(browser, address: str):
    """The page in a new tab of the browser."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(120_000)  # milliseconds; the first answer loads the models
    page.goto(address)
    page.locator("#draw canvas").wait_for()
    return page


def one_visitor(browser, address: str) -> list[float]:
    """Milliseconds of each answer in a browser; the first one loads the models."""
    from ui import screenshots

    milliseconds = []
    page = opened(browser, address)
    plots = page.locator(".card figure").last
    for _ in range(1 + ROUNDS):
        lifted = screenshots.draw(page)
        plots.wait_for()
        milliseconds.append(1000 * (time.perf_counter() - lifted))
        page.locator("#draw .clear").click()
        plots.wait_for(state="detached")
    page.close()
    return milliseconds


def camera(browser, address: str) -> dict[str, float]:
    """Answers a second to the camera's pictures, without heat maps and with them."""
    page = opened(browser, address)
    page.get_by_role("tab", name="Camera").click()
    page.locator("#camera .start").click()
    rates = {"pictures_per_second": per_second(page)}
    page.locator("#camera input").check()
    page.locator("#live figure").nth(1).wait_for()
    rates["pictures_per_second_with_heat_maps"] = per_second(page)
    page.close()
    return rates


def per_second(page) -> float:
    """Answers a second for CAMERA_SECONDS, after ten that are not counted."""
    answered = "Number(document.querySelector('#camera canvas').dataset.answered || 0)"
    before = page.evaluate(answered)
    page.wait_for_function(f"{answered} >= {before} + 10")
    first, start = page.evaluate(f"[{answered}, performance.now()]")
    page.wait_for_timeout(1000 * CAMERA_SECONDS)
    last, end = page.evaluate(f"[{answered}, performance.now()]")
    return 1000 * (last - first) / (end - start)


def seven(paper: int = 255) -> Image.Image:
    """A drawn 7 on paper of this brightness, 280 pixels wide and high."""
    from ui import screenshots

    image = Image.new("L", (280, 280), paper)
    corners = [(280 * x, 280 * y) for x, y in screenshots.SEVEN]
    ImageDraw.Draw(image).line(corners, fill=0, width=22, joint="curve")
    return image


def sent(image: Image.Image) -> str:
    """A picture as the page's canvas sends it."""
    content = io.BytesIO()
    image.save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def many_visitors(address: str, folder: Path) -> list[float]:
    """Milliseconds of each answer where VISITORS ask at the same moment, VISITS times.

    Args:
        folder: with the models; the first two of digits are asked, as on the page when it opens.
    """
    from gradio_client import Client

    titles = [name for name, path in models.found(folder).items() if are_digits(models.about(path))][:2]
    asked = (sent(seven()), titles[0], titles[-1], explainer.DEFAULT_METHOD, "en")

    def ask(visitor: Client) -> float:
        begun = time.perf_counter()
        visitor.predict(*asked, api_name="/draw")
        return 1000 * (time.perf_counter() - begun)

    milliseconds = []
    with ThreadPoolExecutor(VISITORS) as pool:
        visitors = list(pool.map(lambda _: Client(address, verbose=False), range(VISITORS)))
        for _ in range(VISITS):
            milliseconds += pool.map(ask, visitors)
    return milliseconds


def main(argv: list[str] | None = None) -> int:
    """One visitor who draws, waits for the answer, clears, and again; then the camera; then many at once."""
    from ui import screenshots

    config = parse(Config, argv, about=__doc__)
    folder = Path(config.output_dir or OUTPUT).resolve()
    with tempfile.TemporaryDirectory() as temporary, screenshots.server("--output-dir", str(folder)) as address:
        film = screenshots.film(Path(temporary) / "seven.y4m", [np.asarray(seven(paper=205))])
        with screenshots.browser(film) as browser:
            first, *later = one_visitor(browser, address)
            rates = camera(browser, address)
        together = many_visitors(address, folder)
    median, slowest, p95 = float(np.median(later)), max(later), float(np.percentile(together, 95))
    print(f"first {first:.0f} ms, then median {median:.0f} ms, slowest {slowest:.0f} ms")
    print(f"{VISITORS} visitors at once: median {np.median(together):.0f} ms, 95th percentile {p95:.0f} ms")
    result = {"first_ms": first, "median_ms": median, "slowest_ms": slowest, "rounds": ROUNDS}
    print(", ".join(f"{name.replace('_', ' ')}: {rate:.1f}" for name, rate in rates.items()))
    result["camera"] = rates
    result["together"] = {"visitors": VISITORS, "median_ms": float(np.median(together)), "p95_ms": p95}
    results.write("benchmark_page.json", config, result)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
