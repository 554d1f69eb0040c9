"""Muon, an optimizer that makes each update of a convolution's kernel an orthogonal matrix."""

from pipeline.backend import keras

# Newton-Schulz polynomial a x + b x^3 + c x^5: it brings singular values in (0, 1] close to 1, in three to five steps.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalized(matrix, steps: int):
    """The nearest semi-orthogonal matrix (rows, columns), about, by the Newton-Schulz iteration.

    All singular values come out in about [0.7, 1.2]; more steps bring small ones there, too. It computes in the dtype
    that it is given; bfloat16 is exact enough (Jordan et al. 2024, kellerjordan.github.io/posts/muon).
    """
    ops = keras.ops
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    length = ops.sqrt(ops.sum(ops.square(ops.cast(x, "float32"))))
    x = x / ops.cast(length + 1e-7, x.dtype)
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        gram = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * gram + c * ops.matmul(gram, gram), x)
    return ops.transpose(x) if tall else x


class Muon(keras.optimizers.Optimizer):
    """Muon for the kernels of convolutions, SGD for all other variables, both with Nesterov momentum.

    As in airbench (Jordan 2024, arXiv 2404.00498, airbench94_muon.py): a kernel (h, w, in, out) is taken as a matrix of
    one row per filter, its momentum is orthogonalized, and the kernel is brought to length sqrt(out) before each
    update, which changes nothing where BatchNorm follows. keras.optimizers.Muon gives kernels of four axes to Adam.

    Args:
        learning_rate: of the kernels; a number or a schedule.
        others: learning rate of the other variables, as a multiple of the kernels'.
        momentum: of the kernels; others_momentum: of the other variables.
        weight_decay: decoupled decay of matrices, the classifier's weights: times their learning rate per step.
        steps: of the Newton-Schulz iteration.
    """

    def __init__(
        self,
        learning_rate,
        others: float = 3.3,
        momentum: float = 0.6,
        others_momentum: float = 0.85,
        decay: float = 0.0,
        steps: int = 3,
        name: str = "muon",
    ):
        super().__init__(learning_rate, name=name)
        self.others, self.momentum, self.others_momentum = others, momentum, others_momentum
        self.decay, self.steps = decay, steps
        self.compute_dtype = keras.config.dtype_policy().compute_dtype

    def build(self, variables):
        """One momentum for each variable."""
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        """One update of one variable."""
        ops = keras.ops
        gradient, rate = ops.cast(gradient, variable.dtype), ops.cast(learning_rate, variable.dtype)
        momentum = self.momentums[self._get_variable_index(variable)]
        is_kernel = len(variable.shape) == 4
        factor = self.momentum if is_kernel else self.others_momentum
        new = factor * momentum + gradient
        self.assign(momentum, new)
        step = gradient + factor * new
        if not is_kernel:
            rate = self.others * rate
            decay = self.decay if len(variable.shape) == 2 else 0.0
            self.assign(variable, (1 - decay * rate) * variable - rate * step)
            return
        filters = variable.shape[-1]
        rows = ops.cast(ops.transpose(ops.reshape(step, (-1, filters))), self.compute_dtype)
        update = ops.reshape(ops.transpose(orthogonalized(rows, self.steps)), variable.shape)
        length = ops.sqrt(ops.sum(ops.square(variable)))
        self.assign(variable, variable * (filters**0.5 / length) - rate * ops.cast(update, variable.dtype))

    def get_config(self):
        """Arguments as JSON, as Keras asks for them."""
        names = ("others", "momentum", "others_momentum", "decay", "steps")
        return super().get_config() | {name: getattr(self, name) for name in names}
