import ControlProtocol
import CoordinatorCore
import ExpertPlacement
import GRDB

/// What operators and the planner read about plans.
extension CoordinatorStore {
    /// The name of the run that a request is about.
    /// - Parameter name: nil for the run registered last.
    func runName(_ name: String?) async throws -> String {
        if let name { return name }
        return try await queue.read { db in
            try String.fetchOne(db, sql: "SELECT name FROM runs WHERE id = ?", arguments: [Self.runID(nil, db)])
        } ?? ""
    }

    public func plans(_ request: ListPlans, limits: Limits) async throws -> Plans {
        let limit = min(request.limit ?? limits.listedPlans, limits.listedPlans)
        return try await queue.read { db in
            let id = try Self.runID(request.run, db)
            guard let run = try Row.fetchOne(db, sql: "SELECT * FROM runs WHERE id = ?", arguments: [id]) else {
                throw Self.damage("run \(id)")
            }
            let rows = try Row.fetchAll(
                db,
                sql: """
                    SELECT revision, state, incarnation, created_at, who, why, reason, accepted_step, switched_json, layers,
                        activated_at, ended_at, prediction_json, bytes, seconds, verify_seconds, observation_json
                    FROM plans WHERE run_id = ? ORDER BY revision DESC LIMIT ?
                    """, arguments: [id, limit + 1])
            let planning = try Self.planning(run)
            return Plans(
                run: run["name"], frozen: planning.frozen, pinned: planning.pinned.sorted(),
                plans: try rows.prefix(limit).map(Self.planSummary), truncated: rows.count > limit)
        }
    }

    private static func planSummary(_ row: Row) throws -> PlanSummary {
        guard let state = PlanState(rawValue: row["state"]) else { throw damage("a plan's state") }
        let switched: [LayerSwitch] = try value(row, "switched_json")
        // Those that were active from a registration on never had to switch.
        let hasBeenActive = state == .active || state == .superseded
        return PlanSummary(
            revision: row["revision"], state: state, incarnation: row["incarnation"],
            createdAt: Timestamp(milliseconds: row["created_at"]), who: row["who"], why: row["why"],
            reason: row["reason"], acceptedStep: row["accepted_step"],
            switchedLayers: hasBeenActive ? row["layers"] : switched.count, layers: row["layers"],
            activatedAt: time(row["activated_at"]), endedAt: time(row["ended_at"]),
            prediction: try optionalValue(row, "prediction_json"), bytes: row["bytes"], seconds: row["seconds"],
            verifySeconds: row["verify_seconds"], observation: try optionalValue(row, "observation_json"))
    }

    /// The newest reports of an incarnation, oldest first.
    package func reports(of run: String, incarnation: Int, limit: Int) async throws -> [Report] {
        // Others wait for the database meanwhile: what is in JSON is decoded afterwards.
        let stored = try await queue.read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT reports.*, expert_loads_json, dropped_tokens_json
                    FROM reports LEFT JOIN loads USING (run_id, number)
                    WHERE reports.run_id = (SELECT id FROM runs WHERE name = ?) AND reports.incarnation = ?
                    ORDER BY reports.number DESC LIMIT ?
                    """, arguments: [run, incarnation, limit]
            ).map { StoredReport($0, run: run) }
        }
        return try stored.reversed().map { try $0.report }
    }

    /// A report before its lists are decoded.
    struct StoredReport: Sendable {
        private var undecoded: Report
        private let phases: String
        private let loads: String?
        private let dropped: String?

        init(_ row: Row, run: String) {
            undecoded = Report(
                run: run, incarnation: row["incarnation"], rank: row["rank"], sequence: row["sequence"],
                sample: PerformanceSample(
                    firstStep: row["first_step"], stepCount: row["step_count"], planRevision: row["plan_revision"],
                    stepSeconds: row["step_seconds"], phaseSeconds: [:], bytesSent: row["bytes_sent"],
                    tokens: row["tokens"], residentBytes: row["resident_bytes"], loss: row["loss"],
                    expertRows: row["expert_rows"], expertWork: row["expert_work"]))
            phases = row["phase_seconds_json"]
            loads = row["expert_loads_json"]
            dropped = row["dropped_tokens_json"]
        }

        var report: Report {
            get throws {
                var report = undecoded
                report.sample.phaseSeconds = try CoordinatorStore.value(phases)
                report.sample.expertLoads = try loads.map(CoordinatorStore.value)
                report.sample.droppedTokens = try dropped.map(CoordinatorStore.value)
                return report
            }
        }
    }
}
