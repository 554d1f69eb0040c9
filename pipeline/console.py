"""What every script prints alike: times, and a line that counts up."""

import sys


def clock(seconds: float) -> str:
    """1:05 for 65 seconds, 1:01:05 for an hour more."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def counter(done: int, total: int, what: str) -> None:
    """One line that counts up: "7,500 of 10,000 test images"."""
    terminal = sys.stdout.isatty()
    line = f"{done:,} of {total:,} {what}"
    print("\r" + line if terminal else line, end="" if terminal and done < total else "\n", flush=True)
