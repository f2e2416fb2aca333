import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import CoordinatorService
import ExpertPlacement
import GRDB
import Logging

/// Requests of all kinds, one after the other, from which any two databases come out alike.
enum StoreWorkload {
    static var requests: [ChangeRequest] {
        get throws {
            let start = Samples.registerRun()
            let again = Samples.registerRun(registration: "a2")
            func propose(_ shift: Int, from revision: Int, _ why: String) throws -> ChangeRequest {
                .proposePlan(
                    PlanSubmission(
                        run: start.run, plan: try Samples.shiftedPlan(by: shift), prediction: Samples.prediction,
                        from: revision, dryRun: false, who: "ada", why: why))
            }
            let switches = [LayerSwitch(layer: 0, step: 30), LayerSwitch(layer: 1, step: 31)]
            let progress = [
                Samples.progress(.accepted), Samples.progress(.applying, step: 31, switched: [switches[0]]),
                Samples.progress(.applied, step: 31, switched: switches),
            ]
            let reports = (1...2).flatMap { sequence in
                [
                    Samples.report(sequence: sequence),
                    Samples.report(rank: 1, sequence: sequence, sample: Samples.sample()),
                ]
            }
            return [
                .registerRun(start), .registerWorker(Samples.registerWorker()),
                .registerWorker(Samples.registerWorker(rank: 1)),
            ] + reports.map(ChangeRequest.report) + [try propose(1, from: 1, "faster")]
                + progress.map { .planProgress($0, withdrawn: nil) } + [
                    // Has nothing to do.
                    .report(reports[3]),
                    .controlPlanning(
                        ControlPlanning(freeze: true, pin: Samples.experts, who: "ada", why: "a test"), run: start.run),
                    .registerRun(Samples.registerRun("other", worldSize: 4)), try propose(0, from: 2, "back"),
                    .registerRun(again), .registerWorker(Samples.registerWorker(incarnation: 2)),
                    .report(Samples.report(incarnation: 2)), .finishRun(Samples.finishRun(incarnation: 2)),
                    .finishRun(Samples.finishRun("other")),
                    .archiveRun(ArchiveRun(run: "other", who: "ada", why: "old")),
                    .deleteRun(DeleteRun(run: "other", who: "ada", why: "old")),
                    .registerRun(Samples.registerRun("other", registration: "a2", worldSize: 4)),
                ]
        }
    }

    /// A processor whose clock stands still, beside `body`.
    static func withProcessor<Value: Sendable>(
        _ store: CoordinatorStore, _ body: (ChangeProcessor) async throws -> Value
    ) async throws -> Value {
        let processor = ChangeProcessor(
            store: store, limits: .standard, now: { Timestamp(milliseconds: 1_790_000_000_000) },
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        async let running: Void = processor.run()
        let result = await Result { () async throws -> Value in try await body(processor) }
        await processor.stop()
        await running
        return try result.get()
    }

    /// All that is in the database.
    static func dump(_ store: CoordinatorStore) throws -> [String] { try dump(store.queue) }

    static func dump(_ queue: DatabaseQueue) throws -> [String] {
        let tables = [
            "runs", "incarnations", "plans", "workers", "reports", "loads", "intervals", "events", "deleted_runs",
            "restores",
        ]
        return try queue.read { db in
            try tables.flatMap { table in
                try Row.fetchAll(db, sql: "SELECT '\(table)' AS part, * FROM \(table)").map(\.description).sorted()
            }
        }
    }
}

extension Result where Failure == any Error {
    fileprivate init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}
