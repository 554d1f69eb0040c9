"""The models of this project: their files, the scripts that make them, what the tables call them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """One model in the output folder.

    Args:
        prefix: of the files beside it.
        file: its name.
        script: that makes it.
        network, task: in tables.
        recipe: whose seeds are counted; None where one run is all there is.
    """

    prefix: str
    file: str
    script: str
    network: str
    task: str
    recipe: str | None


COARSE = "CIFAR-100, 20 coarse labels"
# Prefix -> model, in the order in which the scripts run.
MODELS = {
    model.prefix: model
    for model in (
        Model("cifar100", "cifar100_cnn_scratch.h5", "cifar100_cnn.py", "CNN from scratch", COARSE, "fast"),
        Model("cifar100-best", "cifar100_cnn_best.h5", "cifar100_cnn.py", "deeper CNN", COARSE, "best"),
        Model("custom_cnn", "custom_cnn_model.h5", "mnist_classification.py", "custom CNN", "MNIST", "default"),
        Model("resnet50", "resnet50_model.h5", "resnet50_transfer_learning.py", "ResNet50", "MNIST", None),
    )
}
