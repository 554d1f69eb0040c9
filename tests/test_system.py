"""What is known of the machine; what a benchmark's other processes answer, and how it ends where one fails."""

import pytest

from pipeline import system
from pipeline.errors import UserError
from pipeline.system import measured_in_another


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(
        "import json, os, sys\n"
        "print('a library says hello')\n"
        "if sys.argv[1] == 'fail':\n"
        "    raise RuntimeError('no such switch')\n"
        "print(json.dumps({'given': sys.argv[1:], 'switch': os.environ.get('SWITCH'), 'home': 'PATH' in os.environ}))\n"
    )
    return str(path)


def test_the_last_line_of_the_other_process_is_its_answer(script):
    found = measured_in_another("usual", script, ["--way", "ready"], {"SWITCH": "0"})
    assert found == {"given": ["--way", "ready"], "switch": "0", "home": True}
    assert measured_in_another("usual", script, ["--way"])["switch"] is None


def test_a_process_that_fails_ends_the_benchmark_with_its_last_line(script):
    with pytest.raises(UserError, match=r"^the plain process failed: RuntimeError: no such switch$"):
        measured_in_another("plain", script, ["fail"])


@pytest.mark.parametrize(
    ("allowed", "there"), [(None, True), ("AVX2", False), ("AVX512_CORE_VNNI", False), ("AVX512_CORE_AMX", True)]
)
def test_bfloat16_is_there_where_onednn_may_use_it(allowed, there, monkeypatch):
    monkeypatch.setattr(system, "_cpuinfo", lambda: {"flags": "avx2 avx512_bf16"})
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if allowed:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", allowed)
    assert system.cpu_has_bfloat16() == there
