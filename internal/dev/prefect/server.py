"""Prefect's own command, with Python's garbage collector in a thread of its own.

Prefect's server keeps its SQLite connections in threads, and everything else in
one: the event loop's. A connection that waits for another one's write lock waits
for up to 60 s, and holds its own mutex meanwhile. When the collector runs in the
event loop's thread and finds a cursor of that connection, it waits for the mutex;
the one who has the write lock waits for the event loop; and the server answers
nobody for a minute. Two workers that claim runs at once are enough for it. In a
thread of its own the collector may wait as long as it has to.
"""

import gc
import itertools
import sys
import threading
import time


def collect() -> None:
    """Collect the young each second, and everything twice a minute."""
    for second in itertools.count(1):
        time.sleep(1)
        gc.collect(2 if second % 30 == 0 else 1)


gc.disable()
threading.Thread(target=collect, name="garbage collector", daemon=True).start()

from prefect.cli import app  # noqa: E402

sys.exit(app())
