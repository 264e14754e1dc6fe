-- Launch requests that may have reached a provider and whose outcome is not known yet. The body
-- holds what the machines are let in with, so a row goes as soon as it is settled.
CREATE TABLE launches (
    id   TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

-- Attempts that do not count: no machine was to be had.
ALTER TABLE builds ADD COLUMN spared INTEGER NOT NULL DEFAULT 0;
