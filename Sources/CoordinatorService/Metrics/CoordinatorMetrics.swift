import ControlProtocol
import CoreMetrics
import PrometheusMetrics

/// What the coordinator counts while it works.
package final class CoordinatorMetrics: Sendable {
    package let registry: PrometheusRegistry
    /// By type; looked up for every request.
    private let requests: [String: Counter]
    private let unreadableRequests: Counter
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
        commits = Timer(label: "moe_coordinator_commit_seconds", factory: registry)
        committedChanges = Counter(label: "moe_coordinator_committed_changes_total", factory: registry)
        failedCommits = Counter(label: "moe_coordinator_failed_commits_total", factory: registry)
        planning = Timer(label: "moe_coordinator_planning_seconds", factory: registry)
    }

    /// - Parameter type: nil: it could not be read.
    func received(_ type: String?) {
        (type.flatMap { requests[$0] } ?? unreadableRequests).increment()
    }

    /// - Parameter code: one of the coordinator's own.
    func refused(_ code: ControlError.Code) {
        Counter(
            label: "moe_coordinator_refusals_total", dimensions: [("code", code.rawValue)], factory: registry
        ).increment()
    }

    /// - Parameter status: of an answer over HTTP.
    func answered(_ status: Int) {
        Counter(
            label: "moe_coordinator_http_answers_total", dimensions: [("status", "\(status)")], factory: registry
        ).increment()
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
