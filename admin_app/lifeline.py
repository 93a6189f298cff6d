"""How a process ends: by a signal, or, if it is supervised, with its supervisor, however that one died.

The supervisor holds the other end of this process's standard input. When it is gone, the kernel closes
the pipe: the one sign that even `kill -9` gives, on every system, without polling.
"""

import asyncio
import os
import signal
import sys
import threading
import time

VARIABLE = "ADMIN_APP_SUPERVISED"
END_SECONDS = 22
"""So long after it was told to end, a process has ended; the kernel sees to that, whatever it hangs in."""


def stop_on_signals() -> asyncio.Event:
    """Set by SIGTERM or SIGINT, however many of them. END_SECONDS after the first the process is killed."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        if not stop.is_set():
            signal.alarm(END_SECONDS)
            stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    return stop


def hold() -> bool:
    """Whether this process is supervised. If so, it gets a SIGTERM when its supervisor has gone."""
    supervised = os.environ.pop(VARIABLE, None) is not None
    if supervised:
        threading.Thread(target=_wait_for_the_end, name="lifeline", daemon=True).start()
    return supervised


def _wait_for_the_end() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_SECONDS + 1)
    os._exit(1)
