"""What a user can fix ends in one line and a stable exit code; a bug keeps its traceback."""

import signal
import subprocess
import sys

import pytest
from conftest import PROJECT

from pipeline import errors
from pipeline.errors import UserError


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (UserError("--limit is\nwrong"), 2, "error: --limit is wrong"),
        (FileNotFoundError(2, "No such file", "a.png"), 2, "error: No such file: a.png"),
        (OSError(28, "No space left on device"), 2, "error: No space left on device"),
        (OSError("odd\nfailure"), 2, "error: odd failure"),
        (KeyboardInterrupt(), 130, "--resume"),
    ],
    ids=["bad input", "missing file", "full disk", "no number", "ctrl-c"],
)
def test_what_a_user_can_fix_is_one_line_on_stderr_and_a_stable_exit_code(error, code, says, capsys):
    assert errors.exit_code(raising(error)) == code
    out, err = capsys.readouterr()
    assert out == "" and len(err.strip().splitlines()) == 1 and says in err and err.endswith("\n")


def test_sigterm_ends_in_one_line_and_143(capsys):
    assert errors.exit_code(lambda: signal.raise_signal(signal.SIGTERM)) == 143
    assert "--resume" in capsys.readouterr().err


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1)])
def test_the_exit_code_of_main_is_passed_on(result, code, capsys):
    assert errors.exit_code(lambda: result) == code
    assert capsys.readouterr() == ("", "")


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        errors.exit_code(lambda: 1 // 0)


def test_debug_shows_the_traceback_of_an_error_that_is_one_line_otherwise(monkeypatch, capsys):
    """A programming error may be an OSError, too."""
    monkeypatch.setattr("sys.argv", ["script.py", "--debug"])
    assert errors.exit_code(raising(FileNotFoundError(2, "No such file", "a.png"))) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err and err.splitlines()[-1] == "error: No such file: a.png"


def test_a_reader_that_has_gone_ends_a_script_quietly():
    code = "from pipeline import errors; raise SystemExit(errors.exit_code(lambda: print('x' * 100_000)))"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(1)
        process.stdout.close()
        assert process.wait(60) == 141 and process.stderr.read() == b""
