//! Every statement of the embedded store, in one place. A test prepares them all.
//!
//! Writes take their rows as one JSON array of arrays ([`crate::store::rounds`]): `value ->> n` is
//! column `n` of a row, JSON text if it is an object or a list. Lists are newest first and start
//! below an id (`?1`), so a page costs the same wherever it lies.

use crate::store::rounds::Verb;

/// Declares the statements, and the list of them all.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)+) => {
        $($(#[$doc])* pub(super) const $name: &str = $sql;)+

        /// All statements, by name, for the test that prepares them.
        #[cfg(test)]
        pub(super) const ALL: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
    };
}

/// The columns of a build, as `rows::build` takes them.
macro_rules! select_builds {
    ($rest:literal) => {
        concat!(
            "SELECT b.id, s.spec, b.standing, b.attempts, b.cancel, b.rev, b.spared \
             FROM builds AS b CROSS JOIN build_specs AS s ON s.build = b.id ",
            $rest
        )
    };
}

/// Sums by category, as `rows::cost` takes them.
macro_rules! select_costs {
    ($key:literal, $from:expr, $rest:literal) => {
        concat!(
            "SELECT ",
            $key,
            " AS key, sum(amount), \
             sum(amount) FILTER (WHERE category = 'boot'), \
             sum(amount) FILTER (WHERE category = 'work'), \
             sum(amount) FILTER (WHERE category = 'retry'), \
             sum(amount) FILTER (WHERE category = 'idle'), \
             sum(amount) FILTER (WHERE category = 'drain'), \
             sum(time) FILTER (WHERE category = 'boot'), \
             sum(time) FILTER (WHERE category = 'work'), \
             sum(time) FILTER (WHERE category = 'retry'), \
             sum(time) FILTER (WHERE category = 'idle'), \
             sum(time) FILTER (WHERE category = 'drain') \
             FROM ",
            $from,
            " ",
            $rest
        )
    };
}

/// The whole hours `[?1, ?2)` from the running sums, the broken ones `[?3, ?4)` and `[?5, ?6)`
/// (microseconds) from the ledger.
macro_rules! hours_and_ends {
    ($hourly:literal, $raw:literal) => {
        concat!(
            "(SELECT ",
            $hourly,
            " AS key, category, amount, time FROM hourly_costs WHERE hour >= ?1 AND hour < ?2 \
             UNION ALL SELECT ",
            $raw,
            ", category, amount, time FROM entries WHERE begin_at >= ?3 AND begin_at < ?4 \
             UNION ALL SELECT ",
            $raw,
            ", category, amount, time FROM entries WHERE begin_at >= ?5 AND begin_at < ?6)"
        )
    };
}

statements! {
    INSERT_PIPELINES = "INSERT INTO pipelines (id, project, idempotency_key, body) \
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM jsonb_each(?1)";
    INSERT_BUILDS = "INSERT INTO builds \
        (id, pipeline, project, state, result, attempts, rev, standing, cancel, spared) \
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
        value ->> 6, value ->> 7, value ->> 8, value ->> 9 FROM jsonb_each(?1)";
    INSERT_BUILD_SPECS = "INSERT INTO build_specs (build, spec) \
        SELECT value ->> 0, value ->> 1 FROM jsonb_each(?1)";
    UPDATE_BUILDS = "UPDATE builds SET state = value ->> 2, result = value ->> 3, \
        attempts = value ->> 4, rev = value ->> 5, standing = value ->> 6, cancel = value ->> 7, \
        spared = value ->> 8 \
        FROM jsonb_each(?1) WHERE builds.id = value ->> 0 AND builds.rev = value ->> 1";
    INSERT_ATTEMPTS = "INSERT INTO attempts (id, build, number, rev, body) \
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 \
        FROM jsonb_each(?1)";
    UPDATE_ATTEMPTS = "UPDATE attempts SET rev = value ->> 2, body = value ->> 3 \
        FROM jsonb_each(?1) WHERE attempts.id = value ->> 0 AND attempts.rev = value ->> 1";
    INSERT_MACHINES = "INSERT INTO machines (id, state, image, image_version, rev, body) \
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 \
        FROM jsonb_each(?1)";
    UPDATE_MACHINES = "UPDATE machines SET state = value ->> 2, rev = value ->> 3, \
        body = value ->> 4 \
        FROM jsonb_each(?1) WHERE machines.id = value ->> 0 AND machines.rev = value ->> 1";
    PUT_MACHINE_KEYS = "INSERT INTO machine_keys (machine, body) \
        SELECT value ->> 0, value ->> 1 FROM jsonb_each(?1) WHERE true \
        ON CONFLICT (machine) DO UPDATE SET body = excluded.body";
    DELETE_MACHINE_KEYS = "DELETE FROM machine_keys \
        WHERE machine IN (SELECT value ->> 0 FROM jsonb_each(?1))";
    INSERT_LAUNCHES = "INSERT INTO launches (id, body) \
        SELECT value ->> 0, value ->> 1 FROM jsonb_each(?1)";
    DELETE_LAUNCHES = "DELETE FROM launches WHERE id IN (SELECT value ->> 0 FROM jsonb_each(?1))";
    INSERT_IMAGES = "INSERT INTO images (name, version, state, rev, body) \
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 \
        FROM jsonb_each(?1)";
    UPDATE_IMAGES = "UPDATE images SET state = value ->> 3, rev = value ->> 4, body = value ->> 5 \
        FROM jsonb_each(?1) WHERE images.name = value ->> 0 AND images.version = value ->> 1 \
        AND images.rev = value ->> 2";
    INSERT_POLICIES = "INSERT INTO policies (name, version, body) \
        SELECT value ->> 0, value ->> 1, value ->> 2 FROM jsonb_each(?1)";
    INSERT_EXTENTS = "INSERT INTO extents \
        (attempt, start, len, pack, frame_start, frame_len, marks) \
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
        value ->> 6 FROM jsonb_each(?1)";
    APPEND_ENTRIES = "INSERT INTO entries (machine, image, build, attempt, pipeline, project, \
        category, begin_at, end_at, time, amount) \
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
        value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10 FROM jsonb_each(?1)";
    ADD_COSTS = "INSERT INTO hourly_costs (hour, project, image, category, amount, time) \
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 \
        FROM jsonb_each(?1) WHERE true ON CONFLICT (hour, project, image, category) \
        DO UPDATE SET amount = amount + excluded.amount, time = time + excluded.time";
    APPEND_BUDGET_NOTES = "INSERT INTO budget_notes (at, body) \
        SELECT value ->> 0, value ->> 1 FROM jsonb_each(?1)";
    /// The array's order is the order of the numbers: a scan of it yields its elements in order,
    /// and each row takes the next number.
    APPEND_EVENTS = "INSERT INTO events (at, kind, subject_kind, subject, message) \
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 \
        FROM jsonb_each(?1)";
    INSERT_TOKENS = "INSERT INTO tokens (id, hash, revoked_at, body) \
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM jsonb_each(?1)";
    /// The first revocation stands.
    REVOKE_TOKENS = "UPDATE tokens SET revoked_at = coalesce(revoked_at, value ->> 1) \
        FROM jsonb_each(?1) WHERE tokens.id = value ->> 0";

    BEGIN = "BEGIN IMMEDIATE";
    COMMIT = "COMMIT";
    ROLLBACK = "ROLLBACK";
    SAVEPOINT = "SAVEPOINT caller";
    RELEASE = "RELEASE caller";
    ROLLBACK_TO_SAVEPOINT = "ROLLBACK TO caller";

    PIPELINE = "SELECT id, body FROM pipelines WHERE id = ?1";
    PIPELINE_BY_KEY = "SELECT id, body FROM pipelines WHERE idempotency_key = ?1";
    PIPELINES = "SELECT p.id, p.body, (SELECT json_group_object(word, n) FROM \
        (SELECT coalesce(result, state) AS word, count(*) AS n FROM builds \
        WHERE pipeline = p.id GROUP BY word)) \
        FROM pipelines AS p WHERE p.id < ?1 ORDER BY p.id DESC LIMIT ?2";
    PIPELINES_OF_PROJECT = "SELECT p.id, p.body, (SELECT json_group_object(word, n) FROM \
        (SELECT coalesce(result, state) AS word, count(*) AS n FROM builds \
        WHERE pipeline = p.id GROUP BY word)) \
        FROM pipelines AS p WHERE p.id < ?1 AND p.project = ?3 ORDER BY p.id DESC LIMIT ?2";
    TALLY = "SELECT coalesce(result, state) AS word, count(*) FROM builds \
        WHERE pipeline = ?1 GROUP BY word";

    BUILD = select_builds!("WHERE b.id = ?1");
    BUILDS = select_builds!("WHERE b.id < ?1 ORDER BY b.id DESC LIMIT ?2");
    /// A pipeline is small, so the rest of the filter looks at each of its builds.
    BUILDS_OF_PIPELINE = select_builds!(
        "WHERE b.pipeline = ?3 AND b.id < ?1 AND (?4 IS NULL OR b.project = ?4) \
         AND (?5 IS NULL OR b.state = ?5) AND (?6 IS NULL OR b.result = ?6) \
         ORDER BY b.id DESC LIMIT ?2"
    );
    BUILDS_OF_PROJECT =
        select_builds!("WHERE b.project = ?3 AND b.id < ?1 ORDER BY b.id DESC LIMIT ?2");
    /// In one of the states before the end, of a project if one is given.
    BUILDS_UNFINISHED = select_builds!(
        "WHERE b.id IN (SELECT id FROM builds WHERE result IS NULL AND state = ?3 AND id < ?1 \
         AND (?4 IS NULL OR project = ?4) ORDER BY id DESC LIMIT ?2) ORDER BY b.id DESC"
    );
    BUILDS_BY_RESULT =
        select_builds!("WHERE b.result = ?3 AND b.id < ?1 ORDER BY b.id DESC LIMIT ?2");
    BUILDS_OF_PROJECT_BY_RESULT = select_builds!(
        "WHERE b.project = ?4 AND b.result = ?3 AND b.id < ?1 ORDER BY b.id DESC LIMIT ?2"
    );
    /// Skips the unfinished builds among the newest, of which there are as many as the queue is
    /// long; a page from each result's index, merged, took longer even so.
    BUILDS_FINISHED = select_builds!(
        "WHERE b.state = 'finished' AND b.id < ?1 ORDER BY b.id DESC LIMIT ?2"
    );
    BUILDS_OF_PROJECT_FINISHED = select_builds!(
        "WHERE b.project = ?3 AND b.state = 'finished' AND b.id < ?1 \
         ORDER BY b.id DESC LIMIT ?2"
    );
    ATTEMPT = "SELECT id, body FROM attempts WHERE id = ?1";
    ATTEMPTS = "SELECT id, body FROM attempts WHERE build = ?1 ORDER BY number";

    PAST_ATTEMPTS = "SELECT a.id, a.body, b.project, s.spec ->> 'name', m.image \
        FROM attempts AS a JOIN builds AS b ON b.id = a.build \
        JOIN build_specs AS s ON s.build = a.build \
        JOIN machines AS m ON m.id = a.body ->> 'machine' \
        WHERE a.id < ?1 ORDER BY a.id DESC LIMIT ?2";
    MACHINE = "SELECT id, body FROM machines WHERE id = ?1";
    MACHINES = "SELECT id, body FROM machines WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
    MACHINES_PRESENT = "SELECT id, body FROM machines WHERE state <> 'gone' AND id < ?1 \
        ORDER BY id DESC LIMIT ?2";
    MACHINE_KEYS = "SELECT k.machine, k.body FROM machine_keys AS k \
        JOIN machines AS m ON m.id = k.machine WHERE k.machine = ?1 AND m.state <> 'gone'";

    IMAGES_OF_NAME = "SELECT name || ' version ' || version, body FROM images WHERE name = ?1 \
        ORDER BY version DESC";
    IMAGES_ACTIVE = "SELECT name || ' version ' || version, body FROM images \
        WHERE state = 'active' ORDER BY name, version DESC";
    POLICIES_OF_NAME = "SELECT name || ' version ' || version, body FROM policies WHERE name = ?1 \
        ORDER BY version DESC";
    POLICIES_CURRENT = "SELECT name || ' version ' || version, body FROM policies AS p \
        WHERE version = (SELECT max(version) FROM policies WHERE name = p.name) ORDER BY name";

    EXTENTS = "SELECT start, len, pack, frame_start, frame_len, marks FROM extents \
        WHERE ?2 < ?3 AND attempt = ?1 AND start < ?3 AND start >= coalesce((SELECT max(start) FROM extents \
        WHERE attempt = ?1 AND start <= ?2), 0) AND start + len > ?2 ORDER BY start";

    EVENTS = "SELECT number, at, kind, subject_kind, subject, message FROM events \
        WHERE number > ?1 ORDER BY number LIMIT ?2";
    EVENTS_OF_SUBJECT = "SELECT number, at, kind, subject_kind, subject, message FROM events \
        WHERE subject_kind = ?3 AND subject = ?4 AND number > ?1 ORDER BY number LIMIT ?2";
    LAST_EVENT = "SELECT coalesce(max(number), 0) FROM events";

    COSTS_BY_BUILD = select_costs!(
        "coalesce(build, '')",
        "entries WHERE begin_at >= ?1 AND begin_at < ?2",
        "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?3"
    );
    COSTS_BY_PIPELINE = select_costs!(
        "coalesce(pipeline, '')",
        "entries WHERE begin_at >= ?1 AND begin_at < ?2",
        "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?3"
    );
    COSTS_BY_PROJECT = select_costs!(
        "key",
        hours_and_ends!("project", "coalesce(project, '')"),
        "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?7"
    );
    COSTS_BY_IMAGE = select_costs!(
        "key",
        hours_and_ends!("image", "image"),
        "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?7"
    );
    COSTS_BY_DAY = select_costs!(
        "date(key * 86400, 'unixepoch')",
        hours_and_ends!("hour / 24", "begin_at / 86400000000"),
        "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?7"
    );
    /// One row even for a build without entries.
    COST_OF_BUILD = select_costs!("?1", "entries WHERE build = ?1", "");

    BUDGET_NOTES = "SELECT CAST(number AS TEXT), body FROM budget_notes WHERE at >= ?1 ORDER BY at, number";
    /// Milliseconds, for micro-dollars times microseconds would be too large a number.
    SPENT = "SELECT coalesce(sums.project, m.body ->> '$.project'), sums.image, sums.pipeline, sums.build, \
        s.spec ->> '$.labels', s.spec ->> '$.priority', sums.spent FROM (\
        SELECT machine, project, image, pipeline, build, sum(CASE WHEN begin_at >= ?1 THEN amount \
        ELSE amount - amount * ((?1 - begin_at) / 1000) / max((end_at - begin_at) / 1000, 1) END) \
        AS spent FROM entries WHERE end_at > ?1 OR begin_at >= ?1 \
        GROUP BY CASE WHEN project IS NULL THEN machine END, project, image, pipeline, build) AS sums \
        LEFT JOIN machines AS m ON sums.project IS NULL AND m.id = sums.machine \
        LEFT JOIN build_specs AS s ON s.build = sums.build";

    TOKEN_BY_HASH = "SELECT id, revoked_at, body FROM tokens \
        WHERE hash = ?1 AND revoked_at IS NULL";
    TOKENS = "SELECT id, revoked_at, body FROM tokens ORDER BY id DESC";

    OPEN_BUILDS = select_builds!(
        "WHERE b.id IN (SELECT id FROM builds WHERE result IS NULL) ORDER BY b.id"
    );
    OPEN_ATTEMPTS = "SELECT id, body FROM attempts WHERE id IN (SELECT value FROM json_each(?1)) \
        ORDER BY id";
    OPEN_MACHINES = "SELECT id, body FROM machines WHERE state <> 'gone' ORDER BY id";
    OPEN_LAUNCHES = "SELECT id, body FROM launches ORDER BY id";
    OPEN_IMAGES = "SELECT name || ' version ' || version, body FROM images WHERE state = 'active' \
        OR (name, version) IN (SELECT image, image_version FROM machines WHERE state <> 'gone') \
        OR (name, version) IN (SELECT name, max(version) FROM images GROUP BY name) ORDER BY name, version DESC";
    RESULTS = "SELECT id, result FROM builds WHERE result IS NOT NULL \
        AND id IN (SELECT value FROM json_each(?1))";
}

/// The statement that writes rows.
pub(super) const fn write(verb: Verb) -> &'static str {
    match verb {
        Verb::InsertPipelines => INSERT_PIPELINES,
        Verb::InsertBuilds => INSERT_BUILDS,
        Verb::InsertBuildSpecs => INSERT_BUILD_SPECS,
        Verb::UpdateBuilds => UPDATE_BUILDS,
        Verb::InsertAttempts => INSERT_ATTEMPTS,
        Verb::UpdateAttempts => UPDATE_ATTEMPTS,
        Verb::InsertMachines => INSERT_MACHINES,
        Verb::UpdateMachines => UPDATE_MACHINES,
        Verb::PutMachineKeys => PUT_MACHINE_KEYS,
        Verb::DeleteMachineKeys => DELETE_MACHINE_KEYS,
        Verb::InsertLaunches => INSERT_LAUNCHES,
        Verb::DeleteLaunches => DELETE_LAUNCHES,
        Verb::InsertImages => INSERT_IMAGES,
        Verb::UpdateImages => UPDATE_IMAGES,
        Verb::InsertPolicies => INSERT_POLICIES,
        Verb::InsertExtents => INSERT_EXTENTS,
        Verb::AppendEntries => APPEND_ENTRIES,
        Verb::AddCosts => ADD_COSTS,
        Verb::AppendBudgetNotes => APPEND_BUDGET_NOTES,
        Verb::AppendEvents => APPEND_EVENTS,
        Verb::InsertTokens => INSERT_TOKENS,
        Verb::RevokeTokens => REVOKE_TOKENS,
    }
}
