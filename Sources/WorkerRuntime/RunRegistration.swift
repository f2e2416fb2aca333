import ControlProtocol
import ExpertPlacement
import Foundation

/// What rank 0 learns at the start and tells all ranks.
struct RunRegistration: Codable, Sendable {
    let run: String
    /// Nil without a coordinator.
    let incarnation: Int?
    let plan: PlacementPlan
    /// The largest incarnation that the directory of checkpoints knows; 0: none.
    var earlierIncarnation = 0

    /// A name from the time, for a run that has none.
    static func generatedName(at date: Date = Date()) -> String {
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(identifier: "UTC")
        formatter.dateFormat = "yyyyMMdd-HHmmss"
        return "run-\(formatter.string(from: date))"
    }

    /// Registers the run; tries again until `limit` has passed while the coordinator is away.
    /// - Throws: `WorkerError` `coordinatorUnreachable`, or `refused` with the coordinator's reason.
    static func register(
        _ request: RegisterRun, with coordinator: CoordinatorAccess, within limit: Duration
    ) throws -> RunRegistration {
        let lastFailure = LastFailure()
        let reply = try AsynchronousCall.run(within: limit) {
            try await attempt(request, with: coordinator, noting: lastFailure)
        }
        guard let reply else {
            let reason = lastFailure.message.map { ": \($0)" } ?? ""
            throw WorkerError(
                .coordinatorUnreachable,
                "no coordinator answered at \(coordinator.address) within \(limit / .seconds(1)) s\(reason); start one with "
                    + "moe-coordinator serve, or leave --coordinator out")
        }
        return RunRegistration(run: reply.run, incarnation: reply.incarnation, plan: reply.plan)
    }

    private static func attempt(
        _ request: RegisterRun, with coordinator: CoordinatorAccess, noting lastFailure: LastFailure
    ) async throws -> RunRegistered {
        let backOff = BackOff(first: .milliseconds(50), longest: .seconds(1))
        var failures = 0
        while true {
            do throws(ControlError) {
                let client = try await coordinator.connect()
                defer { client.close() }
                return try await client.send(request)
            } catch {
                guard error.isTransient else {
                    throw WorkerError(
                        .refused, "the coordinator at \(coordinator.address) refused the run: \(error.message)")
                }
                lastFailure.message = error.message
            }
            failures += 1
            try await Task.sleep(for: backOff.pause(afterFailures: failures))
        }
    }
}
