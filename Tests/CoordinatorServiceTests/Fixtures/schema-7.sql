-- A database as the seventh schema left it: a plan is in flight, planning is frozen, there is a checkpoint and an interval.
PRAGMA application_id = 1299137859;

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
) STRICT;

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
    plan_json TEXT NOT NULL,
    PRIMARY KEY (run_id, revision),
    FOREIGN KEY (run_id, incarnation) REFERENCES incarnations (run_id, number)
) STRICT;

-- Never two active plans.
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
    loss REAL,
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
    expert_loads_json TEXT NOT NULL,
    PRIMARY KEY (run_id, number)
) STRICT;

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    revision INTEGER,
    who TEXT NOT NULL,
    why TEXT NOT NULL
) STRICT;

CREATE INDEX events_by_run ON events (run_id, id);

CREATE TABLE grdb_migrations (identifier TEXT NOT NULL PRIMARY KEY);
INSERT INTO grdb_migrations VALUES ('1: runs, plans and reports');

INSERT INTO runs VALUES (1, 'old', 5, 1, 1, 'expert-parallel', '{"hidden_size":8,"layers":[[16]]}', 1, 1, '{}', 'running', 1, 9, 10,
    2.5);
INSERT INTO incarnations VALUES (1, 1, 'a', 1, 'node-1', 7, 5, NULL, NULL, NULL);
INSERT INTO workers VALUES (1, 1, 0, 'node-1', 7, 5, 1, 1, 9, 10, 0.5, 100);
INSERT INTO reports VALUES (1, 1, 1, 0, 1, 9, 1, 10, 2, 5.0, '{}', 0, 10, 100, 2.5);
INSERT INTO loads VALUES (1, 1, 1, 1, 10, 2, '[[20]]');
INSERT INTO events VALUES (1, 1, 5, 'run_registered', 1, NULL, 'rank 0', 'incarnation 1');
INSERT INTO plans VALUES (1, 1, 'superseded', 6, 1, 5, 'rank 0', 'first',
    '{"format":1,"layers":[{"experts":[{"mesh":{"data_parallel":1,"ranks":[0],"tensor_parallel":1},"width":16}]}],"nodes":[0],"revision":1,"world_size":1}');
INSERT INTO plans VALUES (1, 2, 'active', 7, 1, 5, 'rank 0', 'second',
    '{"format":1,"layers":[{"experts":[{"mesh":{"data_parallel":1,"ranks":[0],"tensor_parallel":1},"width":16}]}],"nodes":[0],"revision":2,"world_size":1}');

ALTER TABLE plans ADD COLUMN origin TEXT NOT NULL DEFAULT 'registration'
    CHECK (origin IN ('registration', 'planner', 'operator'));
-- Why it came to an end.
ALTER TABLE plans ADD COLUMN reason TEXT;
ALTER TABLE plans ADD COLUMN accepted_step INTEGER;
-- The layers that are under it, with their first steps; plan_json stays as it was proposed.
ALTER TABLE plans ADD COLUMN switched_json TEXT NOT NULL DEFAULT '[]';
ALTER TABLE plans ADD COLUMN activated_at INTEGER;
ALTER TABLE plans ADD COLUMN ended_at INTEGER;
ALTER TABLE plans ADD COLUMN prediction_json TEXT;
-- What the switch took.
ALTER TABLE plans ADD COLUMN bytes INTEGER;
ALTER TABLE plans ADD COLUMN seconds REAL;
ALTER TABLE plans ADD COLUMN verify_seconds REAL;
ALTER TABLE plans ADD COLUMN observation_json TEXT;
UPDATE plans SET activated_at = created_at WHERE state IN ('active', 'superseded');
UPDATE plans SET ended_at = state_since WHERE state = 'superseded';

-- Never two plans in flight.
CREATE UNIQUE INDEX plans_in_flight ON plans (run_id) WHERE state IN ('proposed', 'accepted', 'applying');

-- Of the current incarnation: memory, exchange and ownership, and steps a report covers.
ALTER TABLE runs ADD COLUMN cluster_json TEXT;
ALTER TABLE runs ADD COLUMN report_interval INTEGER;
-- What operators say.
ALTER TABLE runs ADD COLUMN frozen INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN pinned_json TEXT NOT NULL DEFAULT '[]';

ALTER TABLE reports ADD COLUMN expert_rows INTEGER;
ALTER TABLE reports ADD COLUMN expert_work INTEGER;

INSERT INTO grdb_migrations VALUES ('2: plans in flight');

UPDATE plans SET origin = 'operator', accepted_step = 8, switched_json = '[{"layer":0,"step":9}]', bytes = 6144, seconds = 0.5,
    verify_seconds = 0.25 WHERE revision = 2;
INSERT INTO plans (run_id, revision, state, state_since, incarnation, created_at, who, why, plan_json, origin, accepted_step)
VALUES (1, 3, 'accepted', 8, 1, 8, 'ada', 'third',
    '{"format":1,"layers":[{"experts":[{"mesh":{"data_parallel":1,"ranks":[0],"tensor_parallel":1},"width":16}]}],"nodes":[0],"revision":3,"world_size":1}',
    'operator', 30);
UPDATE runs SET cluster_json = '{"nodes":[0],"ownership":"colocated"}', report_interval = 10, frozen = 1,
    pinned_json = '[{"expert":0,"layer":0}]';
UPDATE reports SET expert_rows = 17, expert_work = 18;

ALTER TABLE plans ADD COLUMN layers INTEGER NOT NULL DEFAULT 0;
UPDATE plans SET layers = json_array_length(plan_json, '$.layers');
INSERT INTO grdb_migrations VALUES ('3: layers of plans');

ALTER TABLE runs ADD COLUMN archived_at INTEGER;
-- Numbers up to these may have been given out, though nothing here tells of it.
ALTER TABLE runs ADD COLUMN used_revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN used_incarnation INTEGER NOT NULL DEFAULT 0;

-- Their names may be used again, their numbers not.
CREATE TABLE deleted_runs (
    name TEXT NOT NULL PRIMARY KEY,
    deleted_at INTEGER NOT NULL,
    used_revision INTEGER NOT NULL,
    used_incarnation INTEGER NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The backups that this database went through. Runs that it does not know may have used the numbers of the gaps.
CREATE TABLE restores (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    gap INTEGER NOT NULL,
    backup TEXT NOT NULL
) STRICT;
INSERT INTO grdb_migrations VALUES ('4: archives, deletions and restores');

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
INSERT INTO checkpoints VALUES (1, 1, 1, 10, '/data/step-10', 100, 0.5, 9);
INSERT INTO grdb_migrations VALUES ('5: checkpoints');

-- The reports about the same steps, added up.
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
    phase_seconds_json TEXT NOT NULL,
    PRIMARY KEY (run_id, incarnation, first_step)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX intervals_by_number ON intervals (run_id, number) WHERE number IS NOT NULL;

-- What switches took, without a look at the plans.
CREATE INDEX plans_by_cost ON plans (run_id, bytes, seconds);

INSERT INTO intervals VALUES (1, 1, 1, 1, 10, 2, 9, 2.5, 1.0, 1, 1, 1, 0.5, 10, 0, '{}');
INSERT INTO grdb_migrations VALUES ('6: intervals');

-- By layer; NULL: experts took all.
ALTER TABLE loads ADD COLUMN dropped_tokens_json TEXT;
-- Of the pairs of all layers.
ALTER TABLE intervals ADD COLUMN dropped_share REAL;

INSERT INTO grdb_migrations VALUES ('7: dropped tokens');
