"""Batch normalisation at the speed of TensorFlow's fused kernel."""

from pipeline.quiet import keras


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """keras.layers.BatchNormalization over (n, h, w, c), faster in training.

    The same result, but for the running variance: it averages the unbiased variance, N / (N - 1) times Keras'.

    Keras 3 takes mean, variance and the rest one operation after the other, in float32. TensorFlow's
    fused kernel does it in one pass over bfloat16 data, with float32 statistics; what that saves is
    measured by benchmarks/batch_norm.py. On other backends, for other shapes and outside training
    Keras' own code runs. A saved model holds the stock layer.
    """

    def call(self, inputs, training=None, mask=None):
        fused = training and self.trainable and len(inputs.shape) == 4
        if not fused or keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        scale = self.gamma if self.scale else tf.ones_like(self.moving_mean)
        outputs, mean, variance, *_ = tf.compat.v1.nn.fused_batch_norm(
            inputs, scale, self.beta, epsilon=self.epsilon, is_training=True
        )
        self.moving_mean.assign(self.momentum * self.moving_mean + (1 - self.momentum) * mean)
        self.moving_variance.assign(self.momentum * self.moving_variance + (1 - self.momentum) * variance)
        return outputs
