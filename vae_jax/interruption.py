"""SIGINT and SIGTERM at a time of our choosing, so that what was computed is saved first.

A compiled epoch cannot be left half way; asked to stop, a loop ends the epoch it is in, saves and
raises. Asked a second time, it stops at once.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """Work was stopped by a signal, and what there was of it is saved.

    Attributes:
        signal: its number; a process that it stopped exits with 128 + that.
    """

    def __init__(self, number: int, message: str):
        super().__init__(f"stopped by {signal.Signals(number).name}: {message}")
        self.signal = number


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], int | None]]:
    """Note signals instead of obeying them; one that nobody acted on is obeyed at the end.

    Outside of the main thread, where Python has no signals, nothing changes.

    Yields:
        A function that gives the number of a signal that came; None if none did.
    """
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def note(number, frame):
        del frame
        noted.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield lambda: noted[0] if noted else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if noted:
        signal.raise_signal(noted[0])
