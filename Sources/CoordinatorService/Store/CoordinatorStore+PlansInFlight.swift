extension CoordinatorStore {
    /// The second schema: plans that are proposed while a run trains, and what operators say of planning.
    static let plansInFlight = """
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
        """

    /// The third schema: listings of plans read no plan, of which each may have megabytes.
    static let layersOfPlans = """
        ALTER TABLE plans ADD COLUMN layers INTEGER NOT NULL DEFAULT 0;
        UPDATE plans SET layers = json_array_length(plan_json, '$.layers');
        """

    /// The eighth schema: what a plan places lies apart from what becomes of the plan. SQLite passes over a row's earlier columns to
    /// read a later one, and writes a row anew for each change (https://www.sqlite.org/fileformat2.html#record_format). Numbers of
    /// events and reports are not used again when a run was deleted (https://www.sqlite.org/autoinc.html).
    static let placements = """
        CREATE TABLE placements (
            run_id INTEGER NOT NULL,
            revision INTEGER NOT NULL,
            -- As it was proposed.
            plan_json TEXT NOT NULL,
            PRIMARY KEY (run_id, revision),
            FOREIGN KEY (run_id, revision) REFERENCES plans (run_id, revision) ON DELETE CASCADE
        ) STRICT;

        INSERT INTO placements SELECT run_id, revision, plan_json FROM plans;
        ALTER TABLE plans DROP COLUMN plan_json;

        ALTER TABLE events RENAME TO earlier_events;
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
        INSERT INTO events SELECT * FROM earlier_events;
        DROP TABLE earlier_events;
        CREATE INDEX events_by_run ON events (run_id, id);

        ALTER TABLE deleted_runs ADD COLUMN used_report INTEGER NOT NULL DEFAULT 0;
        """
}
