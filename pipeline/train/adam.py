"""Adam and AdamW whose update is one operation of TensorFlow per variable.

Keras spells an update out in about 15 operations. For the 214 variables of ResNet50 these take seconds to trace, and
each passes over 24 million numbers. The result is the same but for rounding. Not for `amsgrad`.
"""

from pipeline.backend import keras


class _FusedUpdate:
    """Beside a class of Keras: Adam's update by TensorFlow's own operation, on other backends by Keras'."""

    def update_step(self, gradient, variable, learning_rate):
        """One update of one variable."""
        if keras.backend.backend() != "tensorflow":
            return super().update_step(gradient, variable, learning_rate)
        import tensorflow as tf

        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, variable.dtype),
        )


class Adam(_FusedUpdate, keras.optimizers.Adam):
    """keras.optimizers.Adam (Kingma and Ba 2015, arXiv 1412.6980)."""


class AdamW(_FusedUpdate, keras.optimizers.AdamW):
    """keras.optimizers.AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101)."""
