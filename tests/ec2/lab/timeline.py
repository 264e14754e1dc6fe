"""What happens later: one thread that runs due calls under the account's lock."""

import heapq
import itertools
import threading
import time
import traceback


class Timeline:
    def __init__(self, lock):
        self._lock = lock
        self._wake = threading.Condition(lock)
        self._due, self._order = [], itertools.count()
        threading.Thread(target=self._run, name="timeline", daemon=True).start()

    def after(self, ms, call):
        """Calls `call` in that many milliseconds. The caller holds the lock."""
        heapq.heappush(self._due, (time.monotonic() + ms / 1000, next(self._order), call))
        self._wake.notify()

    def _run(self):
        with self._lock:
            while True:
                now = time.monotonic()
                if self._due and self._due[0][0] <= now:
                    call = heapq.heappop(self._due)[2]
                    try:
                        call()
                    except Exception:  # noqa: BLE001 a fault of one call must not end the clock for all
                        traceback.print_exc()
                else:
                    self._wake.wait(self._due[0][0] - now if self._due else None)
