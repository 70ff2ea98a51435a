"""Signals that wait for the end of an iteration."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupts:
    """The signals that have come.

    Attributes:
        first: the number of the first of them, None before there is one.
    """

    def __init__(self) -> None:
        self.first: int | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Keep the first signal in mind; the second stops at once, with KeyboardInterrupt."""
        if self.first is not None:
            raise KeyboardInterrupt
        self.first = number


@contextlib.contextmanager
def deferred(terminate: bool) -> Iterator[Interrupts]:
    """Keep Ctrl-C, and with `terminate` SIGTERM, from stopping what is done meanwhile: who does it looks for them.

    A handler of the user's own stays. Python gives signals to the main thread alone, so others have nothing to defer.
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
