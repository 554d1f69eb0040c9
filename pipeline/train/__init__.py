"""Training: a run, its loop, its checkpoints, and the parts of a recipe."""

import lazy_loader

# A module is loaded when it is first used: a script's --help needs none of them.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules={
        "adam",
        "checkpoint",
        "fast_layers",
        "fine_tuning",
        "flops",
        "hosts",
        "identity",
        "interrupt",
        "loop",
        "meeting",
        "muon",
        "recipe",
        "resnet_weights",
        "run",
        "tensorboard",
    },
)
