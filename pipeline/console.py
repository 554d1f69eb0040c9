"""What every script prints alike: times, and a line that counts up."""

import sys


def clock(seconds: float) -> str:
    """1:05 for 65 seconds, 1:01:05 for an hour more."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def duration(seconds: float) -> str:
    """Rounded: "24 s", and from two minutes on "47 min"."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def percent(fraction: float, digits: int | None = None) -> str:
    """A fraction in percent, by default with one digit, above 0.99 with two: "81.5 %", "99.77 %", "100 %"."""
    if fraction == 1:
        digits = 0
    elif digits is None:
        digits = 2 if fraction > 0.99 else 1
    return f"{100 * fraction:.{digits}f}\N{NO-BREAK SPACE}%"


def counter(done: int, total: int, what: str) -> None:
    """One line that counts up: "7,500 of 10,000 test images"."""
    terminal = sys.stdout.isatty()
    line = f"{done:,} of {total:,} {what}"
    print("\r" + line if terminal else line, end="" if terminal and done < total else "\n", flush=True)
