import GRDB

extension CoordinatorStore {
    /// All schemas there were, oldest first. A released one is never edited: what comes later is a migration of its own.
    package static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1: runs, plans and reports") { db in try db.execute(sql: firstSchema) }
        migrator.registerMigration("2: plans in flight") { db in try db.execute(sql: plansInFlight) }
        migrator.registerMigration("3: layers of plans") { db in try db.execute(sql: layersOfPlans) }
        migrator.registerMigration("4: archives, deletions and restores") { db in try db.execute(sql: retention) }
        migrator.registerMigration("5: checkpoints") { db in try db.execute(sql: checkpoints) }
        migrator.registerMigration("6: intervals") { db in try makeIntervals(db) }
        migrator.registerMigration("7: dropped tokens") { db in try db.execute(sql: droppedTokens) }
        migrator.registerMigration("8: placements") { db in try db.execute(sql: placements) }
        return migrator
    }

    /// Times are milliseconds since 1970, steps count from 1. Columns named for JSON hold what the messages of the control
    /// protocol hold.
    private static let firstSchema = """
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
        """
}
