"""Exported models: outdated ones are recognized, and what is no image classifier is refused in a line."""

import json

import numpy as np
import pytest

from pipeline.backend import keras
from pipeline.deploy import runtimes
from pipeline.errors import UserError

onnx = pytest.importorskip("onnx", reason="optional: pip install -e .[export]")
for package in ("onnxruntime", "ai_edge_litert"):
    pytest.importorskip(package, reason="optional: pip install -e .[export]")

layers = keras.layers


@pytest.mark.parametrize("suffix", runtimes.SUFFIXES.values())
def test_an_export_is_outdated_if_the_model_beside_it_is_not_the_one_that_it_was_made_from(suffix, tmp_path):
    export, saved = tmp_path / f"a_model{suffix}", tmp_path / "a_model.h5"
    saved.write_bytes(b"first")
    about = {"source_sha256": runtimes.sha256(saved)}
    assert not runtimes.is_outdated(export, about)
    saved.write_bytes(b"second")
    assert runtimes.is_outdated(export, about) and runtimes.is_outdated(export, {})


@pytest.mark.parametrize("name", ["model.onnx", "other.onnx", "model.tflite"])
def test_nothing_is_hashed_where_no_saved_model_lies_beside_an_export(name, tmp_path, monkeypatch):
    if name != "model.onnx":
        (tmp_path / "model.h5").touch()
    monkeypatch.setattr(runtimes, "sha256", lambda path: pytest.fail(f"{path} is hashed"))
    assert not runtimes.is_outdated(tmp_path / name, {"source_sha256": "0"})


@pytest.mark.parametrize("name", ["model.onnx", "model.tflite"])
def test_a_damaged_export_is_bad_input(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x00" * 100)
    with pytest.raises(UserError, match=name):
        runtimes.open_model(tmp_path / name)


def test_other_suffixes_and_missing_files_are_bad_input(tmp_path):
    for name in ("model.pt", "model.onnx"):
        with pytest.raises(UserError, match=name):
            runtimes.open_model(tmp_path / name)


FLOAT, BYTE = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8


@pytest.mark.parametrize(
    ("kind", "shape", "out", "says"),
    [
        (BYTE, ["n", 8, 8, 1], ["n", 10], "float32"),
        (FLOAT, ["n", 8, 8, 1], ["n", "classes"], "gives"),
        (FLOAT, ["n", 8, 8, 1], ["n", None], "gives"),
        (FLOAT, ["n", 8, 8, 1], ["n", 8, 8, 10], "gives"),
        (FLOAT, ["n", 8, 8, 1], [], "gives"),
        (FLOAT, ["n", 64], ["n", 10], "takes"),
    ],
)
def test_an_onnx_model_that_is_no_image_classifier_is_bad_input(tmp_path, kind, shape, out, says):
    pixels = onnx.helper.make_tensor_value_info("pixels", kind, shape)
    scores = onnx.helper.make_tensor_value_info("scores", kind, out)
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["pixels"], ["scores"])], "g", [pixels], [scores])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=rf"model.onnx.* {says}"):
        runtimes.open_model(path)


@pytest.mark.parametrize(("batch", "parts"), [("n", [32, 8]), (1, [1] * 40)])
def test_images_go_through_in_parts_and_one_by_one_where_the_model_takes_one(tmp_path, monkeypatch, batch, parts):
    """An Identity over (n, 1, 1, 1) that is flattened: the answers are the pixels."""
    pixels = onnx.helper.make_tensor_value_info("pixels", FLOAT, [batch, 1, 1, 1])
    scores = onnx.helper.make_tensor_value_info("scores", FLOAT, [batch, 1])
    nodes = [onnx.helper.make_node("Flatten", ["pixels"], ["scores"])]
    graph = onnx.helper.make_graph(nodes, "g", [pixels], [scores])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    import onnxruntime

    asked, run = [], onnxruntime.InferenceSession.run

    def noted(session, names, fed):
        asked.append(len(fed["pixels"]))
        return run(session, names, fed)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", noted)
    images = np.arange(40, dtype=np.float32).reshape(40, 1, 1, 1)
    found = runtimes.open_model(tmp_path / "model.onnx").predict(images)
    assert asked == parts
    np.testing.assert_array_equal(found, images.reshape(40, 1))


def test_an_onnx_model_without_an_input_is_bad_input(tmp_path):
    scores = onnx.helper.make_tensor_value_info("scores", FLOAT, [1, 10])
    value = onnx.helper.make_tensor("value", FLOAT, [1, 10], [0.1] * 10)
    graph = onnx.helper.make_graph([onnx.helper.make_node("Constant", [], ["scores"], value=value)], "g", [], [scores])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="exactly one input"):
        runtimes.open_model(tmp_path / "model.onnx")


def test_an_operator_that_the_runtime_lacks_is_named(tmp_path):
    import tensorflow as tf

    network = tf.function(tf.math.digamma, input_signature=[tf.TensorSpec((1, 8, 8, 1))])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()])
    converter.allow_custom_ops = True
    path = tmp_path / "accelerator.tflite"
    path.write_bytes(converter.convert())
    with pytest.raises(UserError, match=r"accelerator.tflite .* operator Digamma"):
        runtimes.open_model(path)


def test_a_litert_model_that_takes_bytes_is_bad_input(tmp_path):
    import tensorflow as tf

    pixels = keras.Input((8, 8, 1))
    converter = tf.lite.TFLiteConverter.from_keras_model(
        keras.Model(pixels, layers.Softmax()(layers.Dense(10)(layers.Flatten()(pixels))))
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([np.full((1, 8, 8, 1), value, np.float32)] for value in (0, 255))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    path = tmp_path / "model.tflite"
    path.write_bytes(converter.convert())
    with pytest.raises(UserError, match="takes uint8"):
        runtimes.open_model(path)


def test_a_saved_model_has_an_exact_export_only_if_that_was_made_from_this_very_file(tmp_path):
    pixels = onnx.helper.make_tensor_value_info("pixels", FLOAT, ["n", 1, 1, 1])
    scores = onnx.helper.make_tensor_value_info("scores", FLOAT, ["n", 1])
    nodes = [onnx.helper.make_node("Flatten", ["pixels"], ["scores"])]
    graph = onnx.helper.make_graph(nodes, "g", [pixels], [scores])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    saved, export = tmp_path / "model.h5", tmp_path / "model.onnx"
    saved.write_bytes(b"first")
    assert runtimes.exact_export(saved) is None, "there is none"
    export.write_bytes(model.SerializeToString())
    assert runtimes.exact_export(saved) is None, "it does not say what it was made from"
    about = json.dumps({"source_sha256": runtimes.sha256(saved)})
    onnx.helper.set_model_props(model, {runtimes.ABOUT: about})
    export.write_bytes(model.SerializeToString())
    opened = runtimes.exact_export(saved)
    np.testing.assert_array_equal(opened.predict(np.full((2, 1, 1, 1), 7, np.uint8)), [[7], [7]])
    assert runtimes.exact_export(export) is None, "an export has none"
    saved.write_bytes(b"trained again")
    assert runtimes.exact_export(saved) is None
    saved.write_bytes(b"first")
    export.write_bytes(b"damaged")
    assert runtimes.exact_export(saved) is None
    saved.unlink()
    assert runtimes.exact_export(saved) is None
