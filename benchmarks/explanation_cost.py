"""What an explanation costs: 100 images explained, over one forward pass of the same batch.

    python benchmarks/explanation_cost.py            # every model in output/; about two minutes on two idle cores
    python benchmarks/explanation_cost.py --costly   # Score-CAM and occlusion as well

Forward pass and methods take turns in one process (A B C A B C), so that a machine that drifts favors none; medians.
An explanation is all of it: raw pixels in, maps of the predicted class at the images' size out. What is compiled once
per layer is compiled before the clock starts. Writes benchmark_gradcam.json.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import results
from pipeline import data, explain, models
from pipeline.config import flag, parse
from pipeline.errors import exit_code
from pipeline.train.identity import OUTPUT

WARM_UP = 2  # rounds


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    images: int = flag(100, "images in the batch", minimum=1)
    rounds: int = flag(10, f"timed rounds, after {WARM_UP} that warm up", minimum=1)
    costly: bool = flag(False, "measure Score-CAM and occlusion, too: dozens of forward passes each", recorded=False)
    data_dir: str | None = flag(None, recorded=False)
    output_dir: str | None = flag(
        None, "folder with the models, and for the result; else output/, results of trials output/demo/", recorded=False
    )


def measure(path: Path, config: Config) -> dict:
    """Median seconds of a forward pass and of each method, and each method's ratio to the forward pass."""
    saved = models.saved_model.open_model(path)
    about, model = saved.metadata, saved.model
    images = data.datasets.of_model(saved, config.data_dir).x_test[: config.images].astype(np.float32)
    explainer = explain.explainer.Explainer(model)

    def explanation(method: str, layer: str | None = None):
        return lambda: explainer(images, None, method, layer)

    passes = {"forward": lambda: np.asarray(model.predict_on_batch(images))}
    passes |= {method: explanation(method) for method in explain.cam.METHODS}
    passes[explain.explainer.DEFAULT_METHOD] = explanation(explain.explainer.DEFAULT_METHOD)
    passes["layer-cam fused"] = explanation("layer-cam", explain.explainer.FUSED)
    if config.costly:
        passes |= {method: explanation(method) for method in ("score-cam", "occlusion")}
    seconds = {name: [] for name in passes}
    for _ in range(WARM_UP + config.rounds):
        for name, run in passes.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: float(np.median(times[WARM_UP:])) for name, times in seconds.items()}
    ratios = {name: value / medians["forward"] for name, value in medians.items() if name != "forward"}
    print(f"{path.name}: {config.images} images forward in {1000 * medians['forward']:.0f} ms; ratios to that:")
    print("   " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()), flush=True)
    layer = explain.explainer.default_layer(model)
    return {"model": about["prefix"], "layer": layer, "seconds": medians, "ratios": ratios}


def main(argv: list[str] | None = None) -> int:
    """Measure every saved model of a folder."""
    config = parse(Config, argv, about=__doc__)
    folder = Path(config.output_dir or OUTPUT)
    measured = [measure(path, config) for path in models.saved_model.finished(folder)]
    result = {"images": config.images, "rounds": config.rounds, "models": measured}
    results.write("benchmark_gradcam.json", config, result)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
