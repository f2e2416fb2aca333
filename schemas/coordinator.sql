CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    -- Of the current incarnation:
    incarnation INTEGER NOT NULL,
    world_size INTEGER NOT NULL,
    allocator TEXT NOT NULL,
    model_json TEXT NOT NULL,
    layers INTEGER NOT NULL,
    experts INTEGER NOT NULL,
    configuration_json TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'completed', 'failed', 'interrupted')),
    -- From its reports:
    report_count INTEGER NOT NULL DEFAULT 0,
    reported_at INTEGER,
    step INTEGER,
    loss REAL
, cluster_json TEXT, report_interval INTEGER, frozen INTEGER NOT NULL DEFAULT 0, pinned_json TEXT NOT NULL DEFAULT '[]', archived_at INTEGER, used_revision INTEGER NOT NULL DEFAULT 0, used_incarnation INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE TABLE incarnations (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    registration TEXT NOT NULL,
    world_size INTEGER NOT NULL,
    host TEXT NOT NULL,
    process_id INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    step INTEGER,
    reason TEXT,
    PRIMARY KEY (run_id, number),
    UNIQUE (run_id, registration)
) STRICT;

CREATE INDEX incarnations_by_start ON incarnations (started_at);

CREATE TABLE plans (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    revision INTEGER NOT NULL CHECK (revision > 0),
    state TEXT NOT NULL CHECK (state IN ('proposed', 'accepted', 'applying', 'active', 'superseded',
        'rejected', 'withdrawn', 'abandoned')),
    state_since INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    origin TEXT NOT NULL DEFAULT 'registration'
    CHECK (origin IN ('registration', 'planner', 'operator')), reason TEXT, accepted_step INTEGER, switched_json TEXT NOT NULL DEFAULT '[]', activated_at INTEGER, ended_at INTEGER, prediction_json TEXT, bytes INTEGER, seconds REAL, verify_seconds REAL, observation_json TEXT, layers INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, revision),
    FOREIGN KEY (run_id, incarnation) REFERENCES incarnations (run_id, number)
) STRICT;

CREATE UNIQUE INDEX plans_active ON plans (run_id) WHERE state = 'active';

CREATE TABLE workers (
    run_id INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    host TEXT NOT NULL,
    process_id INTEGER NOT NULL,
    registered_at INTEGER NOT NULL,
    -- Which reports were applied: the highest sequence, and a bit for each of the 64 up to it.
    highest_sequence INTEGER NOT NULL DEFAULT 0,
    applied_sequences INTEGER NOT NULL DEFAULT 0,
    -- From its last report:
    reported_at INTEGER,
    step INTEGER,
    step_seconds REAL,
    resident_bytes INTEGER,
    PRIMARY KEY (run_id, incarnation, rank),
    FOREIGN KEY (run_id, incarnation) REFERENCES incarnations (run_id, number) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE reports (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    first_step INTEGER NOT NULL,
    step_count INTEGER NOT NULL,
    plan_revision INTEGER NOT NULL,
    step_seconds REAL NOT NULL,
    phase_seconds_json TEXT NOT NULL,
    bytes_sent INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    resident_bytes INTEGER NOT NULL,
    loss REAL, expert_rows INTEGER, expert_work INTEGER,
    PRIMARY KEY (run_id, number),
    UNIQUE (run_id, incarnation, rank, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE loads (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    -- Of the report they came with.
    number INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    first_step INTEGER NOT NULL,
    step_count INTEGER NOT NULL,
    plan_revision INTEGER NOT NULL,
    expert_loads_json TEXT NOT NULL, dropped_tokens_json TEXT,
    PRIMARY KEY (run_id, number)
) STRICT;

CREATE UNIQUE INDEX plans_in_flight ON plans (run_id) WHERE state IN ('proposed', 'accepted', 'applying');

CREATE TABLE deleted_runs (
    name TEXT NOT NULL PRIMARY KEY,
    deleted_at INTEGER NOT NULL,
    used_revision INTEGER NOT NULL,
    used_incarnation INTEGER NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL
, used_report INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;

CREATE TABLE restores (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    gap INTEGER NOT NULL,
    backup TEXT NOT NULL
) STRICT;

CREATE TABLE checkpoints (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    incarnation INTEGER NOT NULL,
    step INTEGER NOT NULL,
    path TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    seconds REAL NOT NULL,
    recorded_at INTEGER NOT NULL,
    UNIQUE (run_id, incarnation, step)
) STRICT;

CREATE INDEX checkpoints_by_run ON checkpoints (run_id, id);

CREATE TABLE intervals (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    incarnation INTEGER NOT NULL,
    first_step INTEGER NOT NULL,
    -- Of rank 0's report, as are the next five; NULL until that comes.
    number INTEGER,
    step_count INTEGER NOT NULL,
    plan_revision INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    loss REAL,
    load_balance REAL,
    -- How many have come, and between which numbers they are.
    ranks INTEGER NOT NULL,
    first_number INTEGER NOT NULL,
    last_number INTEGER NOT NULL,
    -- Of a step, on the slowest rank.
    step_seconds REAL NOT NULL,
    tokens INTEGER NOT NULL,
    bytes_sent INTEGER NOT NULL,
    -- Of a step: sum over ranks, and largest.
    phase_seconds_json TEXT NOT NULL, dropped_share REAL,
    PRIMARY KEY (run_id, incarnation, first_step)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX intervals_by_number ON intervals (run_id, number) WHERE number IS NOT NULL;

CREATE INDEX plans_by_cost ON plans (run_id, bytes, seconds);

CREATE TABLE placements (
    run_id INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    -- As it was proposed.
    plan_json TEXT NOT NULL,
    PRIMARY KEY (run_id, revision),
    FOREIGN KEY (run_id, revision) REFERENCES plans (run_id, revision) ON DELETE CASCADE
) STRICT;

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    revision INTEGER,
    who TEXT NOT NULL,
    why TEXT NOT NULL
) STRICT;

CREATE TABLE sqlite_sequence(name,seq);

CREATE INDEX events_by_run ON events (run_id, id);
