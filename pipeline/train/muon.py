"""Muon: an optimizer that orthogonalizes the updates of kernels."""

import math

from pipeline.backend import keras

ops = keras.ops

# Newton-Schulz polynomial a x + b x^3 + c x^5: it brings singular values in (0, 1] close to 1, in three to five steps.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalized(matrix, steps: int):
    """Approximate nearest semi-orthogonal matrix (rows, columns), by Newton-Schulz iteration.

    Most singular values come out in about [0.7, 1.2]; more steps bring small ones there, too. It computes in the dtype
    that it is given; bfloat16 is exact enough (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural
    networks").
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    length = ops.sqrt(ops.sum(ops.square(ops.cast(x, "float32"))))
    x = x / ops.cast(length + 1e-7, x.dtype)
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        gram = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * gram + c * ops.matmul(gram, gram), x)
    return ops.transpose(x) if tall else x


def matrix_shape(variable) -> tuple[int, int] | None:
    """Rows (inputs) and columns (filters) of a kernel as a matrix; None of vectors, and of the logits' kernel.

    Kernels are (h, w, in, out) of convolutions, (in, out) of dense layers, (in, heads, size) of an attention's queries,
    keys and values, and (heads, size, out) of its output.
    """
    *_, layer, name = ("", *variable.path.split("/"))
    if name != "kernel" or layer == "logits":
        return None
    shape = tuple(variable.shape)
    filters = shape[-1]
    if len(shape) == 3 and layer != "attention_output":
        filters = shape[1] * shape[2]
    return None if filters == 1 else (math.prod(shape) // filters, filters)


class Muon(keras.optimizers.Optimizer):
    """Muon for all kernels but the logits', SGD for all other variables, both with Nesterov momentum.

    As in airbench (Jordan 2024, arXiv 2404.00498, airbench94_muon.py): a kernel is a matrix of one row per filter. Its
    momentum is orthogonalized, and the kernel is scaled before each update so that the mean square length of a filter
    is 1: before a normalization that changes no output, but makes the learning rate relative to the weights.
    keras.optimizers.Muon gives kernels of four axes to Adam.

    Args:
        learning_rate: of the kernels; a number or a schedule.
        others: learning rate of all other variables, as a multiple of the kernels'.
        momentum: of the kernels.
        others_momentum: of all other variables.
        steps: of the Newton-Schulz iteration.
        kwargs: of every Keras optimizer.
    """

    def __init__(
        self,
        learning_rate,
        others: float = 3.3,
        momentum: float = 0.6,
        others_momentum: float = 0.85,
        steps: int = 3,
        name: str = "muon",
        **kwargs,
    ):
        super().__init__(learning_rate, name=name, **kwargs)
        self.others, self.momentum, self.others_momentum, self.steps = others, momentum, others_momentum, steps
        self.compute_dtype = keras.config.dtype_policy().compute_dtype

    def build(self, variables):
        """One momentum for each variable."""
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")
        self.matrices = [matrix_shape(variable) for variable in variables]

    def update_step(self, gradient, variable, learning_rate):
        """One update of one variable."""
        gradient, rate = ops.cast(gradient, variable.dtype), ops.cast(learning_rate, variable.dtype)
        index = self._get_variable_index(variable)
        velocity, matrix = self.momentums[index], self.matrices[index]
        momentum = self.momentum if matrix else self.others_momentum
        new = momentum * velocity + gradient
        self.assign(velocity, new)
        update = gradient + momentum * new
        if matrix:
            _, filters = matrix
            length = ops.sqrt(ops.sum(ops.square(variable)))
            scale = filters**0.5 / (length + 1e-7)
            self.assign(variable, scale * variable - rate * self._orthogonal_update(update, matrix))
        else:
            self.assign(variable, variable - self.others * rate * update)

    def _orthogonal_update(self, update, matrix: tuple[int, int]):
        """The update of a kernel, orthogonalized as a matrix of one row per filter."""
        rows = ops.transpose(ops.reshape(update, matrix))
        rows = orthogonalized(ops.cast(rows, self.compute_dtype), self.steps)
        return ops.reshape(ops.cast(ops.transpose(rows), update.dtype), update.shape)

    def get_config(self):
        """Arguments as JSON, as Keras asks for them."""
        names = ("others", "momentum", "others_momentum", "steps")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
