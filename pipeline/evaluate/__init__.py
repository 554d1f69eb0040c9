"""Evaluation: metrics, test-time augmentation, the plots of both, and corruptions of test images."""

import lazy_loader

# A module is loaded when it is first used: a script's --help needs none of them.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules={
        "changes",
        "corruptions",
        "evaluation",
        "metrics",
        "plots",
        "robustness_plot",
        "time_to_accuracy_plot",
    },
)
