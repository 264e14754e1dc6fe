-- The first schema of the embedded store.
--
-- Columns hold what is looked up, sorted or summed; the rest of a row is JSON. Identities are TEXT
-- and sort by time; times are microseconds since 1970, money is micro-dollars, both 64-bit
-- integers. What PostgreSQL spells otherwise (BIGINT, no WITHOUT ROWID) has the same names there.
-- Deleting a pipeline deletes its builds with all that hangs on them; money, events and machines
-- stand for themselves.

CREATE TABLE pipelines (
    id              TEXT NOT NULL PRIMARY KEY,
    project         TEXT NOT NULL,
    idempotency_key TEXT,
    body            TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX pipelines_of_project ON pipelines (project, id);
CREATE UNIQUE INDEX pipelines_by_key ON pipelines (idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- What changes of a build. `standing` is its state as JSON, `state` and `result` the words in it.
CREATE TABLE builds (
    id       TEXT    NOT NULL PRIMARY KEY,
    pipeline TEXT    NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
    project  TEXT    NOT NULL,
    state    TEXT    NOT NULL,
    result   TEXT,
    attempts INTEGER NOT NULL,
    rev      INTEGER NOT NULL,
    standing TEXT    NOT NULL,
    cancel   TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX builds_of_pipeline ON builds (pipeline, id);
CREATE INDEX builds_of_project ON builds (project, id);
-- Small, for it holds unfinished builds only; the project is there to filter without a look-up.
CREATE INDEX builds_unfinished ON builds (state, id, project) WHERE result IS NULL;
-- Written once, when a build finishes.
CREATE INDEX builds_by_result ON builds (result, id) WHERE result IS NOT NULL;
CREATE INDEX builds_of_project_by_result ON builds (project, result, id) WHERE result IS NOT NULL;

-- What never changes of a build, apart, so that a change of state does not rewrite it.
CREATE TABLE build_specs (
    build TEXT NOT NULL PRIMARY KEY REFERENCES builds (id) ON DELETE CASCADE,
    spec  TEXT NOT NULL
) STRICT;

CREATE TABLE attempts (
    id     TEXT    NOT NULL PRIMARY KEY,
    build  TEXT    NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    rev    INTEGER NOT NULL,
    body   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX attempts_of_build ON attempts (build, number);

CREATE TABLE machines (
    id            TEXT    NOT NULL PRIMARY KEY,
    state         TEXT    NOT NULL,
    image         TEXT    NOT NULL,
    image_version INTEGER NOT NULL,
    rev           INTEGER NOT NULL,
    body          TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX machines_present ON machines (id) WHERE state <> 'gone';

CREATE TABLE machine_keys (
    machine TEXT NOT NULL PRIMARY KEY REFERENCES machines (id) ON DELETE CASCADE,
    body    TEXT NOT NULL
) STRICT;

CREATE TABLE images (
    name    TEXT    NOT NULL,
    version INTEGER NOT NULL,
    state   TEXT    NOT NULL,
    rev     INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;

CREATE INDEX images_active ON images (name) WHERE state = 'active';

CREATE TABLE policies (
    name    TEXT    NOT NULL,
    version INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;

-- Log bytes `[start, start + len)` of an attempt; the extents of an attempt do not overlap.
CREATE TABLE extents (
    attempt     TEXT    NOT NULL REFERENCES attempts (id) ON DELETE CASCADE,
    start       INTEGER NOT NULL,
    len         INTEGER NOT NULL,
    pack        TEXT    NOT NULL,
    frame_start INTEGER NOT NULL,
    frame_len   INTEGER NOT NULL,
    marks       TEXT    NOT NULL,
    PRIMARY KEY (attempt, start)
) STRICT, WITHOUT ROWID;

-- The ledger. `time` is end less begin, never negative.
CREATE TABLE entries (
    number   INTEGER PRIMARY KEY,
    machine  TEXT    NOT NULL,
    image    TEXT    NOT NULL,
    build    TEXT,
    attempt  TEXT,
    pipeline TEXT,
    project  TEXT,
    category TEXT    NOT NULL,
    begin_at INTEGER NOT NULL,
    end_at   INTEGER NOT NULL,
    time     INTEGER NOT NULL,
    amount   INTEGER NOT NULL
) STRICT;

CREATE INDEX entries_by_begin ON entries (begin_at);
CREATE INDEX entries_of_build ON entries (build, category, amount, time);

-- Sums of the ledger by the hour since 1970 in which an entry began, kept in the transaction that
-- appends the entry: reports read raw entries only for the broken hours at their ends.
CREATE TABLE hourly_costs (
    hour     INTEGER NOT NULL,
    project  TEXT    NOT NULL,
    image    TEXT    NOT NULL,
    category TEXT    NOT NULL,
    amount   INTEGER NOT NULL,
    time     INTEGER NOT NULL,
    PRIMARY KEY (hour, project, image, category)
) STRICT, WITHOUT ROWID;

-- Numbered by the database: the highest number there is plus one, so a write that is taken back
-- leaves no hole. Whoever deletes old events must leave the newest.
CREATE TABLE events (
    number       INTEGER PRIMARY KEY,
    at           INTEGER NOT NULL,
    kind         TEXT    NOT NULL,
    subject_kind TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    message      TEXT    NOT NULL
) STRICT;

CREATE INDEX events_of_subject ON events (subject_kind, subject, number);

CREATE TABLE tokens (
    id         TEXT NOT NULL PRIMARY KEY,
    hash       TEXT NOT NULL UNIQUE,
    revoked_at INTEGER,
    body       TEXT NOT NULL
) STRICT;
