"""One run on several machines: each holds all weights and takes an equal part of every batch.

Every host runs the same script with the same random numbers. JAX adds up the gradients over the network, so the numbers
are those of one machine with the same batch, up to rounding. Only the first host's files count: the others write to a
folder of their own that is gone at the end, and get the checkpoint to go on from over the network.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.backend import keras
from pipeline.errors import Interrupted, UserError
from pipeline.train.meeting import PORT, Meeting

SILENT_SECONDS = 20  # without a sign of life, after which a host is taken for dead
LAST_SECONDS = 900  # that the others wait at the end for the first host, which evaluates


@dataclass(frozen=True)
class Hosts:
    """The machines of a run.

    number: of hosts; index: which of them this is, from 0 on; scratch: folder of a host that is not the first.
    """

    number: int = 1
    index: int = 0
    scratch: tempfile.TemporaryDirectory | None = None

    @property
    def first(self) -> bool:
        """Whether this is the host whose files count."""
        return self.index == 0

    def part(self, batches):
        """This host's rows of every batch, as a Keras PyDataset; the batches themselves where there is one host."""
        return batches if self.number == 1 else part_of(batches, self)

    def share(self, content: dict, files: list[Path], folder: Path) -> dict:
        """Plain data and files of the first host, on every host.

        Args:
            content: the first host's is returned everywhere.
            files: of the first host; folder: where the other hosts write them.
        """
        if self.number == 1:
            return content
        names = [file.name for file in files]
        content, names = json.loads(self._send(json.dumps([content, names]).encode()))
        for place, name in enumerate(names):
            received = self._send(files[place].read_bytes() if self.first else b"")
            if not self.first:
                (folder / name).write_bytes(received)
        return content

    def who(self, is_one: bool) -> list[int]:
        """The hosts that said True, on every host."""
        if self.number == 1:
            return [0] if is_one else []
        from jax.experimental import multihost_utils

        return np.flatnonzero(multihost_utils.process_allgather(np.array([is_one]))).tolist()

    @contextlib.contextmanager
    def all_there(self):
        """A block that computes together with the other hosts, who need not wait for this one if it ends here.

        Raises:
            UserError: another host has gone.
        """
        try:
            yield
        except (UserError, Interrupted) as error:  # of this host
            self._leave(getattr(error, "code", 2))
            raise
        except (RuntimeError, ValueError) as error:
            if self.number == 1:
                raise
            self._leave(2)
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"another host has ended or cannot be reached ({reason[:200]}); the last checkpoint is kept, go on "
                "with --resume, on as many hosts as there are"
            ) from error

    def _leave(self, code: int) -> None:
        """Let this process end with a code without JAX' farewell, which would wait for the other hosts."""
        if self.number > 1:  # handlers run in reverse order, so JAX' own is not reached
            atexit.register(_end, code, self.scratch)

    def _send(self, sent: bytes) -> bytes:
        """The first host's bytes, on every host."""
        from jax.experimental import multihost_utils

        size = int(multihost_utils.broadcast_one_to_all(np.int32(len(sent))))
        padded = np.frombuffer(sent, np.uint8) if self.first else np.zeros(size, np.uint8)
        return bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded)))


def _end(code: int, scratch: tempfile.TemporaryDirectory | None) -> None:
    if scratch:
        scratch.cleanup()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def join(meeting: Meeting | None) -> Hosts:
    """Meet the other hosts, before anything is computed.

    Args:
        meeting: None: there is this machine alone.
    Raises:
        UserError: a backend that cannot do it, or hosts that do not come.
    """
    if meeting is None or meeting.number == 1:
        return Hosts()
    if keras.backend.backend() != "jax":
        raise UserError(
            "several hosts need the JAX backend; install jax and set the environment variable KERAS_BACKEND=jax"
        )
    import jax

    listen_at(own_address(meeting.other))
    try:
        jax.distributed.initialize(
            meeting.first,
            meeting.number,
            meeting.index,
            cluster_detection_method="deactivate",  # on SLURM it would take one device of this machine alone
            heartbeat_timeout_seconds=SILENT_SECONDS,
            shutdown_timeout_seconds=LAST_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"the {meeting.number} hosts did not meet at {meeting.first} ({reason})") from error
    return Hosts(meeting.number, meeting.index, tempfile.TemporaryDirectory() if meeting.index else None)


def own_address(other: str) -> str:
    """The IP address by which another host, named as in --hosts, can reach this one; nothing is sent.

    Args:
        other: may be this machine itself, by the address that the others have of it.
    Raises:
        UserError: there is no way to the other host, or its name leads nowhere but to this machine.
    """
    name, _, port = other.partition(":")
    with socket.socket(type=socket.SOCK_DGRAM) as way:
        try:
            way.connect((name, int(port or PORT)))
        except (OSError, ValueError) as error:
            raise UserError(f"host {other} cannot be reached ({error}); see that it is right and up") from error
        found = way.getsockname()[0]
    if found.startswith("127.") and not name.startswith(("127.", "localhost")):
        raise UserError(f"host {name} is {found} here, where no other machine gets through; give its IP address")
    return found


def listen_at(address: str) -> None:
    """Let the other hosts find JAX' CPU collectives at an address of this machine.

    They would listen where this machine's name points to, by the hosts file of many systems 127.0.1.1, where no other
    machine gets through. JAX takes no setting for it (jax._src.xla_bridge.make_cpu_client).
    """
    from jaxlib import _jax

    _jax.make_gloo_tcp_collectives = functools.partial(_jax.make_gloo_tcp_collectives, hostname=address)


def part_of(batches, hosts: Hosts):
    """The rows of every batch that belong to a host, as a Keras PyDataset.

    The whole batch is drawn and augmented on every host, so that the random numbers are those of one machine.
    """

    class Part(keras.utils.PyDataset):
        def __init__(self):
            super().__init__(workers=batches.workers, max_queue_size=batches.max_queue_size)

        def __len__(self):
            return len(batches)

        def __getitem__(self, index):
            whole = batches[index]
            size = len(whole[0]) // hosts.number
            rows = slice(hosts.index * size, (hosts.index + 1) * size)
            return tuple(array[rows] for array in whole)

    return Part()
