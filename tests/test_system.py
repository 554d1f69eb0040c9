"""What is known of the machine; what a benchmark's other processes answer, and how it ends where one fails."""

import os
import threading

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


def test_two_threads_that_silence_the_error_output_at_once_leave_it_as_it_was():
    before = os.fstat(2)
    first_is_in, first_ends, second_is_in = threading.Event(), threading.Event(), threading.Event()

    def first():
        with system.silence():
            first_is_in.set()
            first_ends.wait(10)

    def second():
        first_is_in.wait(10)
        with system.silence():
            second_is_in.set()
            first_thread.join(10)

    first_thread, second_thread = threading.Thread(target=first), threading.Thread(target=second)
    first_thread.start()
    second_thread.start()
    second_is_in.wait(0.5)  # it should not get in
    first_ends.set()
    second_thread.join(10)
    assert second_is_in.is_set()
    assert (os.fstat(2).st_dev, os.fstat(2).st_ino) == (before.st_dev, before.st_ino)
