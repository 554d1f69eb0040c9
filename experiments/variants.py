"""The variants of the ablation: each is one change to recipe fast of cifar100_cnn.py.

Strengths are usual ones from the papers or the recipe's own neighbourhood; none was tuned here.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import cifar100_cnn
from experiments import distortions, networks, optimization
from pipeline.data import augment
from pipeline.evaluate import evaluation


@dataclass(frozen=True)
class Variant:
    """One change to the reference; what is not named stays as it is."""

    kind: str = "reference"  # or added, removed, replaced
    settings: dict = field(default_factory=dict)  # of cifar100_cnn.Config
    build: Callable = cifar100_cnn.build_fast  # classes -> model
    prepare: Callable = cifar100_cnn.prepare_fast  # (model, config, dataset): starts, optimizer, loss
    distort: Callable | None = None  # (images, rng) -> images, before the recipe's own augmentation
    mix: Callable | None = None  # (images, label shares, rng) -> both, after it
    average: float | None = None  # decay of a moving average of the weights
    length: int = 1  # times the reference's epochs


VARIANTS = {
    "RandAugment": Variant("added", distort=partial(distortions.rand_augment, operations=1, level=0.3)),
    "colour jitter": Variant("added", distort=partial(distortions.colour_jitter, strength=0.3)),
    "cutout": Variant("added", distort=partial(distortions.cutout, side=8)),
    "MixUp": Variant("added", mix=partial(distortions.mixup, alpha=1.0)),
    "CutMix": Variant("added", mix=partial(augment.cutmix, alpha=1.0, probability=0.5)),
    "dropout": Variant("added", build=partial(networks.build, dropout=0.3)),
    "DropBlock at a constant rate": Variant("added", build=partial(networks.build, drop_block=0.1)),
    "moving average": Variant("added", average=0.99),
    "twice the epochs": Variant("replaced", length=2),  # half of them at 24x24, where the reference has 3 of 5
    "1.5 times as wide": Variant("replaced", build=partial(cifar100_cnn.build_fast, widths=(144, 384, 432))),
    "3 convolutions per block": Variant("replaced", build=partial(cifar100_cnn.build_fast, convolutions=3)),
    "squeeze and excitation": Variant("added", build=partial(networks.build, attention=True)),
    "poolings that drop nothing": Variant("replaced", build=partial(networks.build, pool_padding="same")),
    "no shortcuts": Variant("removed", build=partial(networks.build, shortcut=False)),
    "GELU, not ReLU": Variant("replaced", build=partial(networks.build, activation="gelu")),
    "no weight decay": Variant("removed", {"weight_decay": 0.0}),
    "twice the weight decay": Variant("replaced", {"weight_decay": 0.018}),
    "no label smoothing": Variant("removed", {"label_smoothing": 0.0}),
    "cosine without warm-up": Variant("removed", {"warm_up": 0.0}),
    "step rate without warm-up": Variant("replaced", prepare=optimization.with_step_rate),
    "constant rate without warm-up": Variant("removed", prepare=partial(optimization.with_step_rate, factor=1.0)),
    "AdamW, not SGD": Variant("replaced", prepare=optimization.with_adamw),
    "Muon, not SGD": Variant("replaced", prepare=optimization.with_muon),
    "no whitening": Variant("removed", prepare=optimization.without_whitening),
    "no identity start": Variant("removed", prepare=optimization.without_identity_start),
    "no shifts": Variant("removed", {"shift": 0}),
    # A random flip before the alternating one makes every image's flips random.
    "random, not alternating flip": Variant("replaced", distort=augment.flip),
    "whole size from the start": Variant("removed", {"small_epochs": 0}),
    "Vision Transformer with AdamW": Variant(
        "replaced", build=networks.build_transformer, prepare=partial(optimization.with_adamw, peak=1e-3, starts=False)
    ),
}
# Of the reference's models, without another training.
TTA = {f"test-time {name}": views for name, views in evaluation.TTA.items()}


def change(variant: Variant) -> str:
    """What an variant changes, in full: "mixup(alpha=0.2)". Another text was another variant."""
    usual, parts = Variant(), [f"{key}={value}" for key, value in variant.settings.items()]
    for setting in dataclasses.fields(Variant)[2:]:
        value = getattr(variant, setting.name)
        if value != getattr(usual, setting.name):
            parts.append(told(value) if callable(value) else f"{setting.name}={value}")
    return ", ".join(parts)


def told(function: Callable) -> str:
    """A function with the arguments that a partial gives it: "cutout(side=8)"."""
    given = getattr(function, "keywords", {})
    name = getattr(function, "func", function).__name__
    return f"{name}({', '.join(f'{key}={value}' for key, value in given.items())})"
