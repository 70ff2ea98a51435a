"""Signals that take effect only at the end of an iteration."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupts:
    """The signals that were received.

    Attributes:
        first: number of the first signal; None before there is one.
    """

    def __init__(self) -> None:
        self.first: int | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Remember the first signal; raise KeyboardInterrupt at the second."""
        if self.first is not None:
            raise KeyboardInterrupt
        self.first = number


@contextlib.contextmanager
def deferred(terminate: bool) -> Iterator[Interrupts]:
    """Keep Ctrl-C, and with `terminate` also SIGTERM, from stopping the block, which must check for them itself.

    A handler that the user has set stays. Python gives signals only to the main thread, so other threads have nothing
    to defer.
    """
    found = Interrupts()
    replaced = {signal.SIGINT: signal.default_int_handler} | ({signal.SIGTERM: signal.SIG_DFL} if terminate else {})
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number, default in replaced.items():
            if signal.getsignal(number) is default or signal.getsignal(number) == default:
                before[number] = signal.signal(number, found.handle)
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
