"""Where the machines of one run meet: flags and variables that can be, and those that are refused."""

import pytest

from pipeline import errors
from pipeline.config import RunConfig
from pipeline.errors import UserError
from pipeline.train import meeting
from pipeline.train.meeting import Meeting

JAX, KERAS = meeting.VARIABLES


@pytest.mark.parametrize(
    ("addresses", "index", "words"),
    [
        (None, 1, "name them all with --hosts"),
        ("10.0.0.1", 0, "two machines or more"),
        ("10.0.0.1,", 0, "two machines or more"),
        ("10.0.0.1,10.0.0.2", 2, "the last one is 1"),
    ],
)
def test_flags_that_cannot_be_are_refused(addresses, index, words):
    with pytest.raises(UserError, match=words):
        meeting.from_flags(addresses, index)


def test_all_meet_at_the_first_host_which_knows_another_only_where_all_are_named():
    named = [meeting.from_flags("a:9000, b", index) for index in (0, 1)]
    assert [(one.first, one.other) for one in named] == [("a:9000", "b"), ("a:9000", "a:9000")]
    told = meeting.from_environment(dict(zip(JAX, ("a", "3", "0"), strict=True)))
    assert (told.first, told.other, told.number) == ("a:8476", "a", 3)
    assert meeting.from_flags(None, 0) is None and meeting.from_environment({"HOME": "/"}) is None


def test_variables_of_jax_and_of_keras_may_say_the_same():
    variables = dict(zip(JAX + KERAS, ("a:8476", "2", "1", "a,b", "2", "1"), strict=True))
    assert meeting.from_environment(variables) == Meeting(("a", "b"), 2, 1)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("a", "2", ""), "JAX_COORDINATOR_ADDRESS is set without JAX_PROCESS_ID; set all three"),
        (("", "", "1"), "JAX_PROCESS_ID is set without JAX_COORDINATOR_ADDRESS and JAX_NUM_PROCESSES"),
        (("a", "two", "0"), "JAX_NUM_PROCESSES=two must be a whole number"),
        (("a", "2", "-1"), "JAX_PROCESS_ID=-1 must be a whole number"),
        (("a", "2", "2"), "JAX_PROCESS_ID=2 counts from 0 and must be less than JAX_NUM_PROCESSES=2"),
        (("a,b,c", "2", "0"), "JAX_COORDINATOR_ADDRESS=a,b,c takes the address of the first host or of all 2"),
        (("a,", "2", "0"), "takes the address of the first host or of all 2"),
    ],
)
def test_variables_that_cannot_be_are_refused(values, words):
    with pytest.raises(UserError, match=words):
        meeting.from_environment(dict(zip(JAX, values, strict=True)))


def test_two_meetings_are_refused():
    variables = dict(zip(JAX + KERAS, ("a", "2", "1", "b", "2", "1"), strict=True))
    with pytest.raises(UserError, match="JAX_COORDINATOR_ADDRESS and KERAS_DISTRIBUTION_JOB_ADDRESSES, with"):
        meeting.from_environment(variables)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--devices", "all"], "JAX_COORDINATOR_ADDRESS is set without"),
        (["--devices", "all", "--hosts", "10.0.0.1"], "--hosts takes the addresses of two"),
    ],
)
def test_a_run_that_cannot_meet_ends_in_one_line(flags, said, tmp_path, monkeypatch, capsys):
    import mnist_classification

    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "a")
    small = ["--dataset", "digits", "--dry-run", "--output-dir", str(tmp_path)]
    assert errors.exit_code(lambda: mnist_classification.main([*small, *flags])) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {said}") and len(err.splitlines()) == 1


def test_a_run_on_one_device_does_not_look_at_the_variables():
    variables = dict(zip(JAX, ("a", "2", "1"), strict=True))
    assert meeting.of(RunConfig(), variables) is None
    assert meeting.of(RunConfig(devices="all"), variables) == Meeting(("a",), 2, 1)
    assert meeting.of(RunConfig(devices="all", hosts="b,c"), variables) == Meeting(("b", "c"), 2, 0)
