"""How long the page takes to answer a drawn digit, for one visitor in a browser and for twenty at once.

    python benchmarks/page.py            # about a minute

A 7 is drawn again and again in Chromium, on the page as it opens: the first two digit models of output/ side by side
with Grad-CAM, from lifting the pen to the plots on the screen. The first drawing, which loads the models, is reported
apart. Then twenty visitors send the same at the same time, without browsers. Writes benchmark_page.json.
"""

from __future__ import annotations

import base64
import io
import sys
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
from ui import answers

ROUNDS = 20
VISITORS, VISITS = 20, 5


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    output_dir: str | None = flag(None, "folder with the models, and for the result; else output/", recorded=False)


def one_visitor(address: str) -> list[float]:
    """Milliseconds of each answer in a browser; the first one loads the models."""
    from ui import screenshots

    milliseconds = []
    with screenshots.browser() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(120_000)  # milliseconds; the first answer loads the models
        page.goto(address)
        page.locator("#draw canvas").wait_for()
        plots = page.locator(".card figure").last
        for _ in range(1 + ROUNDS):
            lifted = screenshots.draw(page)
            plots.wait_for()
            milliseconds.append(1000 * (time.perf_counter() - lifted))
            page.locator("#draw button").click()
            plots.wait_for(state="detached")
    return milliseconds


def seven() -> str:
    """A drawn 7 as the page's canvas sends it."""
    from ui import screenshots

    image, content = Image.new("L", (280, 280), 255), io.BytesIO()
    corners = [(280 * x, 280 * y) for x, y in screenshots.SEVEN]
    ImageDraw.Draw(image).line(corners, fill=0, width=22, joint="curve")
    image.save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def many_visitors(address: str, folder: Path) -> list[float]:
    """Milliseconds of each answer where VISITORS ask at the same moment, VISITS times.

    Args:
        folder: with the models; the first two of digits are asked, as on the page when it opens.
    """
    from gradio_client import Client

    titles = [name for name, path in answers.models(folder).items() if are_digits(answers.about(path))][:2]
    asked = (seven(), titles[0], titles[-1], explainer.DEFAULT_METHOD)

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
    """One visitor who draws, waits for the answer, clears, and again; then many at once."""
    from ui import screenshots

    config = parse(Config, argv, about=__doc__)
    folder = Path(config.output_dir or OUTPUT).resolve()
    with screenshots.server("--output-dir", str(folder)) as address:
        first, *later = one_visitor(address)
        together = many_visitors(address, folder)
    median, slowest, p95 = float(np.median(later)), max(later), float(np.percentile(together, 95))
    print(f"first {first:.0f} ms, then median {median:.0f} ms, slowest {slowest:.0f} ms")
    print(f"{VISITORS} visitors at once: median {np.median(together):.0f} ms, 95th percentile {p95:.0f} ms")
    result = {"first_ms": first, "median_ms": median, "slowest_ms": slowest, "rounds": ROUNDS}
    result["together"] = {"visitors": VISITORS, "median_ms": float(np.median(together)), "p95_ms": p95}
    results.write("benchmark_page.json", config, result)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
