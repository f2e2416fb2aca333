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

    /// A name for a run that has none: from the time, and from chance, for jobs that start in the same second.
    static func generatedName(at date: Date = Date()) -> String {
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(identifier: "UTC")
        formatter.dateFormat = "yyyyMMdd-HHmmss"
        let chance = String(UInt32.random(in: 0x100_0000...0x1FF_FFFF), radix: 16).dropFirst()
        return "run-\(formatter.string(from: date))-\(chance)"
    }

    /// Registers the run; tries again until `limit` has passed while the coordinator is away.
    /// - Throws: `WorkerError` `coordinatorUnreachable`, or `refused` with the coordinator's reason.
    static func register(
        _ request: RegisterRun, with coordinator: CoordinatorAccess, within limit: Duration
    ) throws -> RunRegistration {
        let reply = try coordinator.ask(request, for: "the run", within: limit)
        return RunRegistration(run: reply.run, incarnation: reply.incarnation, plan: reply.plan)
    }
}
