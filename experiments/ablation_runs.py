"""The runs of the ablation study by name, for the study and for a plan that has each as a task; needs no Keras."""

import re

REFERENCE = "reference"
REFERENCE_SEEDS, SEEDS = 5, 3  # of the reference, with which all are compared, and of each variant
# Of experiments/variants.py, in its order; a test compares the two.
VARIANTS = (
    "cutout",
    "CutMix",
    "moving average",
    "twice the epochs",
    "1.5 times as wide",
    "no shortcuts",
    "GELU, not ReLU",
    "no label smoothing",
    "cosine without warm-up",
    "AdamW, not Muon",
    "SGD, not Muon",
    "no whitening",
    "no dirac initialization",
    "no shifts",
    "no corruptions",
    "random, not alternating flip",
    "full size from the start",
)


def ordered(variants: tuple[str, ...] | list[str] = VARIANTS, seeds: int = SEEDS) -> list[tuple[str, int]]:
    """(name, seed) of every run, a reference's first.

    The references are spread over the whole time, in which the machine's speed may change.

    Args:
        seeds: of each variant; the reference has REFERENCE_SEEDS at least.
    """
    changed = [(name, seed) for name in variants for seed in range(seeds)]
    references, runs = max(REFERENCE_SEEDS, seeds), []
    for seed in range(references):
        part = slice(seed * len(changed) // references, (seed + 1) * len(changed) // references)
        runs.append((REFERENCE, seed))
        runs += changed[part]
    return runs


def file_of(name: str, seed: int) -> str:
    """Name of the file with the rows of a run that was trained alone: "no_shifts-seed0.json"."""
    return re.sub(r"[^\w.=-]", "_", f"{name}-seed{seed}") + ".json"
