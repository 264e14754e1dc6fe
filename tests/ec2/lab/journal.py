"""Every API call, in order, with what became of it."""

import datetime


class Journal:
    def __init__(self):
        self.clear()

    def clear(self):
        self._calls, self._seq = {}, 0

    def note(self, service, action, params, outcome):
        """`outcome`: a dict with outcome, status, fault, instances."""
        self._seq += 1
        entry = {
            "seq": self._seq,
            "at": datetime.datetime.now(datetime.timezone.utc).isoformat(),
            "action": action,
            "service": service,
            "params": params,
            **outcome,
        }
        self._calls.setdefault(action, []).append(entry)

    def counts(self):
        return {"counts": {action: len(calls) for action, calls in sorted(self._calls.items())}, "total": self._seq}

    def of(self, action):
        return self._calls.get(action, [])
