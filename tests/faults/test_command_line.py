"""Whatever stands on the command line: a valid config, or one line and exit code 2."""

import importlib
import sys

import pytest
from conftest import PROJECT

from pipeline import errors
from pipeline.config import parse, settings_of

hypothesis = pytest.importorskip("hypothesis", reason='pip install -e ".[dev]"')
st = hypothesis.strategies

SCRIPTS = sorted(path.stem for path in PROJECT.glob("*.py"))
NUMBERS = ("-1", "0", "-0", "1e999", "nan", "NaN", "inf", "-inf", "1e-400", "9" * 30, "9" * 5000, "1_000", "0x10", "٣")
WORDS = (
    "",
    " ",
    "a b",
    "a\nb",
    "../..",
    "/dev/null",
    "\0",
    "\x85",
    "\u2028",
    "\udcff",
    "é",
    "数字",
    "--",
    "-",
    "{}",
    "%s",
)
VALUES = st.one_of(
    st.sampled_from(NUMBERS + WORDS),
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(("1", "2", "0.5", "digits", "synthetic", "float32", "all")),
)


def command_lines(config_class):
    """Lists of this script's flags, known and unknown, with values of every kind."""
    names = [field.name for field in settings_of(config_class) if not field.metadata["positional"]]
    flags = st.sampled_from(["--" + name.replace("_", "-") for name in names] + ["--nonsense", "-x"])
    pair = st.tuples(flags, VALUES).map(list)
    return st.lists(
        st.one_of(pair, pair, flags.map(lambda flag: [flag]), VALUES.map(lambda value: [value])), max_size=4
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_command_line_is_a_valid_config_or_one_line_and_exit_code_2(script, capsys, monkeypatch, tried):
    Config = importlib.import_module(script).Config
    codes = []
    monkeypatch.setattr(sys, "argv", [script])

    @hypothesis.settings(max_examples=150, deadline=None, database=None, derandomize=True)
    @hypothesis.given(words=command_lines(Config))
    def drive(words):
        argv = [word for part in words for word in part]
        config = []
        code = errors.exit_code(lambda: config.append(parse(Config, argv, about="x")))
        codes.append(code)
        out, err = capsys.readouterr()
        assert out == ""
        if code == 0:
            assert err == "" and isinstance(config[0], Config)
            for field in settings_of(Config):
                value, low = getattr(config[0], field.name), field.metadata["minimum"]
                assert not isinstance(value, (int, float)) or low is None or low <= value <= 10**10
        else:
            assert code == 2 and err.startswith("error: ") and len(err.splitlines()) == 1, err

    drive()
    assert {0, 2} == set(codes)
    tried(f"a hostile command line for {script}.py", times=len(codes), valid=codes.count(0), refused=codes.count(2))
