"""Variants of the ablation study: each is one change to recipe fast of cifar100_cnn.py.

Strengths are usual ones from the papers or near the recipe's own; none was tuned here.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import cifar100_cnn
from experiments import distortions, networks, optimization
from experiments.ablation_runs import REFERENCE
from pipeline.data import augment
from pipeline.evaluate import evaluation


@dataclass(frozen=True)
class Variant:
    """One change to the reference; what is not named stays as it is.

    kind: "added", "removed", "replaced", or the reference itself.
    settings: of cifar100_cnn.Config.
    build: n_classes -> model.
    prepare: (model, config, dataset) -> None; sets initial weights, optimizer and loss.
    distort: (images, rng) -> images, before the recipe's own augmentation.
    mix: (images, labels (n, classes), rng) -> images and labels, after it.
    average: decay of a moving average of the weights.
    length: epochs, as a multiple of the reference's.
    """

    kind: str = REFERENCE
    settings: dict = field(default_factory=dict)
    build: Callable = cifar100_cnn.build_fast
    prepare: Callable = cifar100_cnn.prepare_fast
    distort: Callable | None = None
    mix: Callable | None = None
    average: float | None = None
    length: int = 1


VARIANTS = {
    "cutout": Variant("added", distort=partial(distortions.cutout, side=8)),
    "CutMix": Variant("added", mix=partial(augment.cutmix, alpha=1.0, probability=0.5)),
    "moving average": Variant("added", average=0.99),
    "twice the epochs": Variant("replaced", length=2),  # half of them at 24x24, where the reference has 3 of 5
    "1.5 times as wide": Variant(
        "replaced", build=partial(networks.build, widths=(96, 288, 768), inner=(96, 240, 480))
    ),
    "no shortcuts": Variant("removed", build=partial(networks.build, shortcut=False)),
    "GELU, not ReLU": Variant("replaced", build=partial(networks.build, activation="gelu")),
    "no label smoothing": Variant("removed", {"label_smoothing": 0.0}),
    "cosine without warm-up": Variant("removed", {"warm_up": 0.0}),
    "AdamW, not Muon": Variant("replaced", prepare=optimization.with_adamw),
    "SGD, not Muon": Variant("replaced", prepare=optimization.with_sgd),
    "no whitening": Variant("removed", prepare=optimization.without_whitening),
    "no dirac initialization": Variant("removed", prepare=optimization.without_dirac_initialization),
    "no shifts": Variant("removed", {"shift": 0}),
    "no corruptions": Variant("removed", {"corruption": 0.0}),
    # A random flip before the alternating one makes every image's flips random.
    "random, not alternating flip": Variant("replaced", distort=augment.flip),
    "full size from the start": Variant("removed", {"small_epochs": 0}),
}
TTA_VARIANTS = {f"test-time {name}": name for name in evaluation.TTA}  # of the reference's models, without training


def changes() -> dict[str, str]:
    """Variant -> what it changes, in full; the reference changes nothing.

    A row of the table whose change reads otherwise was measured with another variant of the same name.
    """
    return {
        REFERENCE: change(Variant()),
        **{name: change(variant) for name, variant in VARIANTS.items()},
        **{name: f"tta={tta}" for name, tta in TTA_VARIANTS.items()},
    }


def change(variant: Variant) -> str:
    """What a trained variant changes, in full: "cutmix(alpha=1.0, probability=0.5)"."""
    parts = [f"{key}={value}" for key, value in variant.settings.items()]
    usual = Variant()
    for setting in dataclasses.fields(Variant):
        value = getattr(variant, setting.name)
        if setting.name not in ("kind", "settings") and value != getattr(usual, setting.name):
            parts.append(describe_function(value) if callable(value) else f"{setting.name}={value}")
    return ", ".join(parts)


def describe_function(function: Callable) -> str:
    """A function with the arguments that functools.partial binds: "cutout(side=8)"."""
    bound = getattr(function, "keywords", {})
    name = getattr(function, "func", function).__name__
    arguments = ", ".join(f"{key}={value}" for key, value in bound.items())
    return f"{name}({arguments})"
