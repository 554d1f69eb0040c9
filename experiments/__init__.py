"""Experiments: an ablation study on CIFAR-100, what pretraining brings on MNIST, what --start-from with few images."""

import lazy_loader

# A module is loaded when it is first used: a script's --help needs none of them.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules={
        "ablation_runs",
        "ablation_table",
        "distortions",
        "networks",
        "optimization",
        "transfer_plot",
        "transfer_setups",
        "transfer_table",
        "transfer_training",
        "variants",
    },
)
