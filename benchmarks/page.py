"""How long the page takes to answer a drawn digit, from lifting the pen to the pictures on the screen.

    python benchmarks/page.py            # about half a minute; takes the flags of ui/app.py

A 7 is drawn again and again in Chromium, on the page as it opens: the first two digit models of
output/ side by side with Grad-CAM. The first drawing, which loads the models, is told apart. Writes
output/benchmark_page.json.
"""

import sys
import time

import numpy as np

from pipeline import PROJECT, atomic_io, backend
from pipeline.errors import exit_code
from ui import screenshots

ROUNDS = 20


def main() -> int:
    """Draw, wait for the answer, clear, and again."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return 0
    milliseconds = []
    with screenshots.server(*sys.argv[1:]) as address, screenshots.browser() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(120_000)  # milliseconds; the first answer loads the models
        page.goto(address)
        page.locator("#draw canvas").wait_for()
        pictures = page.locator(".card figure").last
        for _ in range(1 + ROUNDS):
            lifted = screenshots.draw(page)
            pictures.wait_for()
            milliseconds.append(1000 * (time.perf_counter() - lifted))
            page.locator("#draw button").click()
            pictures.wait_for(state="detached")
    first, *later = milliseconds
    result = {
        "first_ms": first,
        "median_ms": float(np.median(later)),
        "slowest_ms": max(later),
        "rounds": ROUNDS,
        **backend.provenance(),
    }
    path = PROJECT / "output" / "benchmark_page.json"
    atomic_io.write_json(path, result)
    print(f"first {first:.0f} ms, then median {result['median_ms']:.0f} ms, slowest {max(later):.0f} ms")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
