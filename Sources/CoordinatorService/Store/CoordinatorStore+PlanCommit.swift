import ControlProtocol
import CoordinatorCore
import ExpertPlacement
import GRDB

/// Changes of plans.
extension CoordinatorStore {
    static func add(_ record: PlanRecord, _ db: Database) throws {
        let time = record.at.milliseconds
        try execute(
            db,
            """
            INSERT INTO plans (run_id, revision, state, state_since, incarnation, created_at, who, why, origin,
                prediction_json, activated_at, layers)
            VALUES ((SELECT id FROM runs WHERE name = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                record.run, record.plan.revision, record.state.rawValue, time, record.incarnation, time, record.who,
                record.why, record.origin.rawValue, record.prediction.map(json),
                record.state == .active ? time : nil, record.plan.layers.count,
            ])
        try execute(
            db,
            """
            INSERT INTO placements (run_id, revision, plan_json) VALUES ((SELECT id FROM runs WHERE name = ?), ?, ?)
            """, [record.run, record.plan.revision, json(record.plan)])
    }

    static func set(
        _ state: PlanState, of run: String, revision: Int, reason: String?, at time: Timestamp, _ db: Database
    ) throws {
        let hasEnded = !state.isInFlight && state != .active
        try execute(
            db,
            """
            UPDATE plans SET state = ?, state_since = ?, reason = ?, activated_at = ifnull(activated_at, ?), ended_at = ?
            WHERE run_id = (SELECT id FROM runs WHERE name = ?) AND revision = ?
            """,
            [
                state.rawValue, time.milliseconds, reason, state == .active ? time.milliseconds : nil,
                hasEnded ? time.milliseconds : nil, run, revision,
            ])
    }

    static func set(_ progress: PlanProgress, acceptedStep: Int?, _ db: Database) throws {
        try execute(
            db,
            """
            UPDATE plans SET accepted_step = ?, switched_json = ?, bytes = ?, seconds = ?, verify_seconds = ?
            WHERE run_id = (SELECT id FROM runs WHERE name = ?) AND revision = ?
            """,
            [
                acceptedStep, json(progress.switched), progress.bytes, progress.seconds, progress.verifySeconds,
                progress.run, progress.revision,
            ])
    }

    static func set(_ observation: PlanObservation, of run: String, revision: Int, _ db: Database) throws {
        try execute(
            db,
            """
            UPDATE plans SET observation_json = ? WHERE run_id = (SELECT id FROM runs WHERE name = ?) AND revision = ?
            """, [json(observation), run, revision])
    }

    static func set(_ settings: PlanningSettings, of run: String, _ db: Database) throws {
        try execute(
            db, "UPDATE runs SET frozen = ?, pinned_json = ? WHERE name = ?",
            [settings.frozen, json(settings.pinned.sorted()), run])
    }
}
