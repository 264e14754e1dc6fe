-- Approvals and warnings of budgets, each of which holds for the period in which it was noted.
CREATE TABLE budget_notes (
    number INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    body   TEXT    NOT NULL
) STRICT;

CREATE INDEX budget_notes_by_time ON budget_notes (at);

-- What was spent from a moment on: entries that ended after it, whenever they began.
CREATE INDEX entries_by_end ON entries (end_at);
