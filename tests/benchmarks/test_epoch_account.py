"""benchmarks.epoch_account: how a moment is divided, what an operation counts as, and one short epoch."""

import pytest

from benchmarks import epoch_account
from benchmarks.epoch_account import Config, divided_among, measure, part_of, step_operations, whole_runs


def test_a_moment_is_divided_among_what_runs():
    times = divided_among([(0.0, 4.0, "a"), (2.0, 6.0, "b"), (8.0, 9.0, "a"), (2.0, 4.0, "b")])
    assert times == pytest.approx({"a": 2 + 2 / 3 + 1, "b": 4 / 3 + 2})
    assert sum(times.values()) == pytest.approx(7)  # the union


@pytest.mark.parametrize(
    ("operation", "part"),
    [
        ("net/block1_conv1_1/convolution:_MklNativeConv2D", "convolutions, forward"),
        ("net/whiten_1/Relu:_MklNativeFusedConv2D", "convolutions, forward"),
        ("tape/block1_conv1_1/Conv2DBackpropInput:_MklNativeConv2DBackpropInput", "convolutions, by data"),
        ("tape/block1_conv1_1/Conv2DBackpropFilter:_MklNativeConv2DBackpropFilter", "convolutions, by weights"),
        ("net/block1_bn1_1/FusedBatchNormV3:_MklNativeFusedBatchNormV3", "BatchNorm"),
        ("net/block1_bn2_1/mul_1:Mul", "BatchNorm"),
        ("tape/block1_relu1_1/ReluGrad:ReluGrad", "ReLU"),
        ("tape/block1_pool_1/MaxPool2d/MaxPoolGrad:_MklNativeMaxPoolGrad", "pooling"),
        ("StatefulPartitionedCall/sgd/Sub_10:Sub", "optimizer"),
        ("StatefulPartitionedCall/adamw/Sub_10:Sub", "optimizer"),
        ("StatefulPartitionedCall/muon/MatMul_3:MatMul", "optimizer"),
        ("net/block1_conv1_1/Cast:Cast", "casts to and from bfloat16"),
        ("net/block1_add_1/Add:AddV2", "other operations"),
    ],
)
def test_every_operation_counts_once(operation, part):
    assert part_of(operation) == part


def test_operations_of_a_step_by_direction():
    case = epoch_account.CASES["mnist_classification.py"]
    model = case.script.build_model(epoch_account.training_config(case, "tiny"))
    found = step_operations(model, (28, 28, 1), 10)
    first = 2 * 10 * 28 * 28 * 9 * 8  # 3x3 kernels, 1 channel to 8 filters
    assert found["convolutions, forward"] - found["convolutions, by data"] == first
    assert found["convolutions, by weights"] == found["convolutions, forward"]


def test_whole_runs_at_the_measured_speeds():
    rows = []
    for name, case in epoch_account.CASES.items():
        for side in case.sides:
            for precision, factor in (("float32", 1), ("bfloat16", 2)):
                speed = {"images_per_second": 1000.0 * factor * (2 if side == 24 else 1), "training_images": 1000}
                rows.append({"case": name, "side": side, "precision": precision, **speed})
    runs = {(run["case"], run["recipe"]): run["seconds"] for run in whole_runs(rows)}
    assert runs["cifar100_cnn.py", "sprint"] == {"float32": 3 / 2 + 2, "bfloat16": 3 / 4 + 2 / 2}
    assert runs["mnist_classification.py", "default"] == {"float32": 18, "bfloat16": 9}


def test_the_parts_of_a_short_epoch_add_up():
    found = measure(Config(toy=True, case="mnist_classification.py", side=28, steps=2))
    assert set(epoch_account.CONVOLUTIONS + epoch_account.REST) < set(found["seconds"])
    assert sum(found["seconds"].values()) == pytest.approx(found["seconds_in_all"])
    assert all(seconds >= 0 for seconds in found["seconds"].values())
    assert found["seconds"]["convolutions, forward"] > 0 < found["seconds"]["optimizer"]
    assert found["matrix_product_gflops"] > 1
