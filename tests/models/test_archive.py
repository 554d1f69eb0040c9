""".keras files of others: what may be in them, and what is refused in one line."""

import json
import zipfile

import numpy as np
import pytest

from pipeline.backend import keras, layers
from pipeline.errors import UserError
from pipeline.models import untrusted

IMAGES = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)


def saved(path, *inside):
    model = keras.Sequential([keras.Input((8, 8, 1)), *inside, layers.Flatten(), layers.Dense(2)])
    model.compile("adam", loss="mse")
    model.save(path)
    return model


def changed(path, name, change):
    """The same archive with one of its members changed."""
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    members[name] = change(members[name])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return path


def test_a_sound_archive_is_loaded_uncompiled(tmp_path):
    model = saved(tmp_path / "theirs.keras", layers.Conv2D(2, 3), layers.BatchNormalization())
    loaded = untrusted.load(tmp_path / "theirs.keras")
    np.testing.assert_allclose(loaded(IMAGES), model(IMAGES), atol=1e-6)
    assert not loaded.compiled


def test_a_foreign_loss_is_not_read(tmp_path):
    path = tmp_path / "theirs.keras"
    saved(path)

    def with_loss(text):
        config = json.loads(text)
        config["compile_config"]["loss"] = {
            "class_name": "Popen",
            "module": "subprocess",
            "config": {"args": "touch x"},
        }
        return json.dumps(config)

    assert untrusted.load(changed(path, "config.json", with_loss)).count_params() == 130


def enlarged(text):
    return text.replace(b'"units": 2', b'"units": 20000000')


def renamed(text):
    return text.replace(b'"Dense"', b'"Popen"', 1).replace(b'"keras.layers"', b'"subprocess"')


BAD = {
    "custom class": ("config.json", renamed, "which can run code"),
    "no config": ("config.json", lambda _: b"{", "damaged"),
    "list for a config": ("config.json", lambda _: b"[" * 10**5, "damaged"),
    "damaged weights": ("model.weights.h5", lambda weights: weights[:100], "damaged"),
    "no weights": ("model.weights.h5", lambda _: b"", "damaged"),
    "no version": ("metadata.json", lambda _: b"{}", "damaged"),
    "millions of weights": (
        "config.json",
        enlarged,
        "more weights",
    ),
    "enormous config": ("config.json", lambda _: b" " * (untrusted.LARGEST_CONFIG + 1), "too large"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_hostile_or_damaged_archive_is_refused_in_one_line(name, tmp_path):
    member, change, says = BAD[name]
    saved(tmp_path / "theirs.keras")
    with pytest.raises(UserError, match=says) as caught:
        untrusted.load(changed(tmp_path / "theirs.keras", member, change))
    assert "theirs.keras" in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_a_lambda_is_refused(tmp_path):
    saved(tmp_path / "theirs.keras", layers.Lambda(lambda x: x + 1, output_shape=(8, 8, 1)))
    with pytest.raises(UserError, match="Lambda"):
        untrusted.load(tmp_path / "theirs.keras")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_what_is_no_archive_is_refused(content, tmp_path):
    (tmp_path / "theirs.keras").write_bytes(content)
    with pytest.raises(UserError, match=r"theirs\.keras is damaged"):
        untrusted.load(tmp_path / "theirs.keras")
    with pytest.raises(UserError, match="does not exist"):
        untrusted.load(tmp_path / "nowhere.keras")


def test_weights_alone_are_said_to_be_that(tmp_path):
    model = saved(tmp_path / "theirs.keras")
    model.save_weights(tmp_path / "their.weights.h5")
    with pytest.raises(UserError, match="weights alone"):
        untrusted.load(tmp_path / "their.weights.h5")
