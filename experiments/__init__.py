"""Studies of the recipes: the ablation on CIFAR-100, and what pretraining brings on MNIST."""
