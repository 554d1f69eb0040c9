"""Where the machines of one run meet: named by flags, or by the variables that a scheduler sets for JAX or Keras."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import UserError

PORT = 8476  # of the first host, unless its address names another
# Address of the first host or of all, number of hosts, which of them this is. Keras reads its own three itself
# (keras.distribution.initialize), JAX the first of its own.
VARIABLES = (
    ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"),
    ("KERAS_DISTRIBUTION_JOB_ADDRESSES", "KERAS_DISTRIBUTION_NUM_PROCESSES", "KERAS_DISTRIBUTION_PROCESS_ID"),
)


@dataclass(frozen=True)
class Meeting:
    """The hosts of a run, as this one of them knows them.

    addresses: of all hosts, or of the first alone; number: of hosts; index: which of them this is, from 0 on.
    """

    addresses: tuple[str, ...]
    number: int
    index: int

    @property
    def first(self) -> str:
        """Address and port of the first host, where all meet."""
        first = self.addresses[0]
        return first if ":" in first else f"{first}:{PORT}"

    @property
    def other(self) -> str:
        """Address of another host; that of the first one, which is this machine, where it knows no other."""
        return self.addresses[1] if self.index == 0 and len(self.addresses) > 1 else self.addresses[0]


def of(config, variables: Mapping[str, str]) -> Meeting | None:
    """The hosts of a run: those of its flags, else with --devices all those of the environment; None: this one alone.

    Args:
        config: the script's Config; variables: os.environ.
    Raises:
        UserError: see from_flags() and from_environment().
    """
    named = from_flags(config.hosts, config.host)
    if named is None and config.devices == "all":
        return from_environment(variables)
    return named


def from_flags(addresses: str | None, index: int) -> Meeting | None:
    """The hosts that --hosts names, None where it names none.

    Args:
        addresses: of all hosts, with commas, the first one perhaps with a port.
        index: which of them this is.
    Raises:
        UserError: fewer than two hosts, or an index that there is not.
    """
    if not addresses:
        if index:
            raise UserError(f"--host {index} is one of several machines; name them all with --hosts")
        return None
    names = _names(addresses)
    if len(names) < 2 or not all(names):
        raise UserError(f"--hosts takes the addresses of two machines or more, as 10.0.0.1,10.0.0.2; got {addresses}")
    if index >= len(names):
        raise UserError(f"--host {index}: of {len(names)} hosts the last one is {len(names) - 1}")
    return Meeting(names, len(names), index)


def from_environment(variables: Mapping[str, str]) -> Meeting | None:
    """The hosts that environment variables name, None where they name none.

    Args:
        variables: os.environ, of which VARIABLES are read.
    Raises:
        UserError: some of three that belong together are missing, a value that cannot be, or two meetings.
    """
    found = {names[0]: _read(names, variables) for names in VARIABLES if any(map(variables.get, names))}
    meetings = list(found.values())
    if len({(meeting.first, meeting.number, meeting.index) for meeting in meetings}) > 1:
        raise UserError(f"{' and '.join(found)}, with what belongs to them, name different hosts; unset one of them")
    return meetings[-1] if meetings else None


def _read(names: tuple[str, str, str], variables: Mapping[str, str]) -> Meeting:
    """The hosts that three variables name, of which at least one is set."""
    missing = [name for name in names if not variables.get(name)]
    if missing:
        there = next(name for name in names if name not in missing)
        raise UserError(f"{there} is set without {' and '.join(missing)}; set all three of them, or none")
    addresses = _names(variables[names[0]])
    number, index = (_whole(name, variables[name]) for name in names[1:])
    if not all(addresses) or len(addresses) not in (1, number):
        raise UserError(
            f"{names[0]}={variables[names[0]]} takes the address of the first host or of all {number} "
            f"({names[1]}), with commas"
        )
    if index >= number:
        raise UserError(f"{names[2]}={index} counts from 0 and must be less than {names[1]}={number}")
    return Meeting(addresses, number, index)


def _names(addresses: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in addresses.split(","))


def _whole(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise UserError(f"{name}={value} must be a whole number")
    return int(value)
