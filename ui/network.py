"""The page's network: where it listens, and that it calls no other computer."""

import socket
import sys

from pipeline.errors import UserError


def check_free(host: str, port: int) -> None:
    """UserError where nothing can listen there: a port in use, an address that is not this computer's."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot listen on {host}:{port} ({reason}); choose others with --host and --port") from error


def stay_home(host: str) -> None:
    """From now on this process connects to no other computer, whatever a request or a library asks for.

    Gradio fetches a picture that a request names by its address, and looks for news of itself.

    Args:
        host: the address that the page listens on, which Gradio calls once to see that it answers.
    """
    home = {host, "127.0.0.1", "::1", "localhost", "0.0.0.0", "::", None}
    home |= {address[0] for *_, address in socket.getaddrinfo(host, None)}  # a name is asked for by its number

    def check(event: str, arguments: tuple) -> None:
        if event == "socket.getaddrinfo":
            target = arguments[0]
        elif event == "socket.connect" and isinstance(arguments[1], tuple):  # else a socket file
            target = arguments[1][0]
        else:
            return
        target = target.decode() if isinstance(target, bytes) else target
        if target not in home:
            raise PermissionError(f"this page calls no other computer, so not {target}")

    sys.addaudithook(check)
