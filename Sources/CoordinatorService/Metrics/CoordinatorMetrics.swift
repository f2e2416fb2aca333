import ControlProtocol
import CoreMetrics
import PrometheusMetrics

/// What the coordinator counts while it works.
package final class CoordinatorMetrics: Sendable {
    package let registry: PrometheusRegistry
    /// By type; looked up for every request.
    private let requests: [String: Counter]
    private let unreadableRequests: Counter
    private let refusals: [String: Counter]
    private let answers: [String: Counter]
    private let commits: Timer
    private let committedChanges: Counter
    private let failedCommits: Counter
    private let planning: Timer

    package init() {
        let registry = PrometheusRegistry(MetricDescription.all)
        self.registry = registry
        func requests(_ type: String) -> Counter {
            Counter(label: "moe_coordinator_requests_total", dimensions: [("type", type)], factory: registry)
        }
        self.requests = Dictionary(uniqueKeysWithValues: AnyRequest.types.map { ($0, requests($0)) })
        unreadableRequests = requests("unreadable")
        // From the start: of a counter that begins with what is counted no increase is seen.
        refusals = Self.counters("moe_coordinator_refusals_total", "code", Self.codes.map(\.rawValue), registry)
        answers = Self.counters(
            "moe_coordinator_http_answers_total", "status", Self.statuses.map(String.init), registry)
        commits = Timer(label: "moe_coordinator_commit_seconds", factory: registry)
        committedChanges = Counter(label: "moe_coordinator_committed_changes_total", factory: registry)
        failedCommits = Counter(label: "moe_coordinator_failed_commits_total", factory: registry)
        planning = Timer(label: "moe_coordinator_planning_seconds", factory: registry)
    }

    /// - Parameter type: nil: it could not be read.
    func received(_ type: String?) {
        (type.flatMap { requests[$0] } ?? unreadableRequests).increment()
    }

    private static let codes: [ControlError.Code] = [
        .badRequest, .unknownType, .unsupportedVersion, .limitExceeded, .unknownRun, .unknownRevision, .unknownLayer,
        .unknownStep, .unknownAllocator, .unsuitablePlan, .conflict, .planningFrozen, .invalidTransition, .unsupported,
        .unknownWorker, .staleIncarnation, .unknownIncarnation, .staleSequence, .overloaded, .storageUnavailable,
        .unauthenticated, .forbidden, .tampered,
    ]
    private static let statuses = [200, 304, 400, 401, 404, 405, 421, 431, 503]
    private static let others = "other"

    private static func counters(
        _ name: String, _ label: String, _ values: [String], _ registry: PrometheusRegistry
    ) -> [String: Counter] {
        Dictionary(
            uniqueKeysWithValues: (values + [others]).map {
                ($0, Counter(label: name, dimensions: [(label, $0)], factory: registry))
            })
    }

    func refused(_ code: ControlError.Code) {
        (refusals[code.rawValue] ?? refusals[Self.others])?.increment()
    }

    /// - Parameter status: of an answer over HTTP.
    func answered(_ status: Int) {
        (answers["\(status)"] ?? answers[Self.others])?.increment()
    }

    func committed(_ changes: Int, in duration: Duration) {
        commits.recordNanoseconds(duration.nanoseconds)
        committedChanges.increment(by: changes)
    }

    func commitFailed() { failedCommits.increment() }

    func planned(in duration: Duration) { planning.recordNanoseconds(duration.nanoseconds) }
}

extension Duration {
    fileprivate var nanoseconds: Int64 { Int64(self / .nanoseconds(1)) }
}
