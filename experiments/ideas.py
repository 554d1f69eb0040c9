"""The ideas of the ablation: each is one change to recipe fast of cifar100_cnn.py.

Strengths are usual ones from the papers or the recipe's own neighbourhood; none was tuned here.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import cifar100_cnn
from experiments import distortions, networks, optimization
from pipeline import augment, mixing, tta


@dataclass(frozen=True)
class Idea:
    """One change to the reference; what is not named stays as it is."""

    kind: str = "reference"  # or added, removed, replaced
    settings: dict = field(default_factory=dict)  # of cifar100_cnn.Config
    build: Callable = cifar100_cnn.build_fast  # classes -> model
    prepare: Callable = cifar100_cnn.prepare_fast  # (model, config, dataset): starts, optimiser, loss
    distort: Callable | None = None  # (images, rng) -> images, before the recipe's own augmentation
    mix: Callable | None = None  # (images, label shares, rng) -> both, after it
    average: float | None = None  # decay of a moving average of the weights
    length: int = 1  # times the reference's epochs


IDEAS = {
    "RandAugment": Idea("added", distort=partial(distortions.rand_augment, operations=1, level=0.3)),
    "colour jitter": Idea("added", distort=partial(distortions.colour_jitter, strength=0.3)),
    "cutout": Idea("added", distort=partial(distortions.cutout, side=8)),
    "MixUp": Idea("added", mix=partial(distortions.mixup, alpha=1.0)),
    "CutMix": Idea("added", mix=partial(mixing.cutmix, alpha=1.0, probability=0.5)),
    "dropout": Idea("added", build=partial(networks.build, dropout=0.3)),
    "DropBlock at a constant rate": Idea("added", build=partial(networks.build, drop_block=0.1)),
    "moving average": Idea("added", average=0.99),
    "twice the epochs": Idea("replaced", length=2),  # half of them at 24x24, where the reference has 3 of 5
    "1.5 times as wide": Idea("replaced", build=partial(cifar100_cnn.build_fast, widths=(144, 384, 432))),
    "3 convolutions per block": Idea("replaced", build=partial(cifar100_cnn.build_fast, convolutions=3)),
    "squeeze and excitation": Idea("added", build=partial(networks.build, attention=True)),
    "poolings that drop nothing": Idea("replaced", build=partial(networks.build, pool_padding="same")),
    "no shortcuts": Idea("removed", build=partial(networks.build, shortcut=False)),
    "GELU, not ReLU": Idea("replaced", build=partial(networks.build, activation="gelu")),
    "no weight decay": Idea("removed", {"weight_decay": 0.0}),
    "twice the weight decay": Idea("replaced", {"weight_decay": 0.018}),
    "no label smoothing": Idea("removed", {"label_smoothing": 0.0}),
    "cosine without warm-up": Idea("removed", {"warm_up": 0.0}),
    "step rate without warm-up": Idea("replaced", prepare=optimization.with_step_rate),
    "constant rate without warm-up": Idea("removed", prepare=partial(optimization.with_step_rate, factor=1.0)),
    "AdamW, not SGD": Idea("replaced", prepare=optimization.with_adamw),
    "Muon, not SGD": Idea("replaced", prepare=optimization.with_muon),
    "no whitening": Idea("removed", prepare=optimization.without_whitening),
    "no identity start": Idea("removed", prepare=optimization.without_identity_start),
    "no shifts": Idea("removed", {"shift": 0}),
    # A random flip before the alternating one makes every image's flips random.
    "random, not alternating flip": Idea("replaced", distort=augment.flip),
    "whole size from the start": Idea("removed", {"small_epochs": 0}),
    "Vision Transformer with AdamW": Idea(
        "replaced", build=networks.build_transformer, prepare=partial(optimization.with_adamw, peak=1e-3, starts=False)
    ),
}
# Of the reference's models, without another training.
VIEWS = {f"test-time {name}": views for name, views in tta.VIEWS.items()}


def change(idea: Idea) -> str:
    """What an idea changes, in full: "mixup(alpha=0.2)". Another text was another idea."""
    usual, parts = Idea(), [f"{key}={value}" for key, value in idea.settings.items()]
    for knob in dataclasses.fields(Idea)[2:]:
        value = getattr(idea, knob.name)
        if value != getattr(usual, knob.name):
            parts.append(told(value) if callable(value) else f"{knob.name}={value}")
    return ", ".join(parts)


def told(function: Callable) -> str:
    """A function with the arguments that a partial gives it: "cutout(side=8)"."""
    given = getattr(function, "keywords", {})
    name = getattr(function, "func", function).__name__
    return f"{name}({', '.join(f'{key}={value}' for key, value in given.items())})"
