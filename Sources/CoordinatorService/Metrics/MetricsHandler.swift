import ControlProtocol
import CoreMetrics
import ExpertPlacement
import FlyingFox
import Foundation
import PrometheusMetrics

/// Answers `/metrics`: what was counted, and how things are at that moment.
actor MetricsHandler {
    /// Where there is something to be looked at.
    struct Sources: Sendable {
        let store: CoordinatorStore
        let processor: ChangeProcessor
        let planning: PlanningLoop
        let connections: ConnectionTable
        let health: Health
    }

    /// A value and where it goes.
    private typealias Reading = (name: String, labels: [(String, String)], value: Double)

    /// How many runs have not ended, and how some of them are.
    private typealias Measures = (running: Int, measures: [RunMeasures])

    private let metrics: CoordinatorMetrics
    private let sources: Sources
    private let limits: Limits
    private let start = Timestamp.now()
    /// Those of the last answer, by name and labels.
    private var meters: [String: Meter] = [:]
    private var answer: Task<Data, Never>?
    /// The question to the database that is under way.
    private var question: Task<Measures?, Never>?

    init(_ metrics: CoordinatorMetrics, _ sources: Sources, limits: Limits) {
        self.metrics = metrics
        self.sources = sources
        self.limits = limits
    }

    /// - Parameter http: the connections of which this one is.
    func answer(http: ConnectionTable) async -> HTTPResponse {
        // However many ask at once, the database is asked once.
        let answer = self.answer ?? Task { await text(http) }
        self.answer = answer
        return HTTPResponse(
            statusCode: .ok, headers: [.contentType: PrometheusText.contentType], body: await answer.value)
    }

    private func text(_ http: ConnectionTable) async -> Data {
        defer { answer = nil }
        let checks = await sources.health.checks()
        var readings = await coordinator(http, checks)
        // Without a database, or with one that hangs, there is still something to tell.
        if checks.contains(where: \.isReadable), let runs = await measures() {
            readings.append(("moe_coordinator_running_runs", [], Double(runs.running)))
            readings += runs.measures.flatMap(Self.readings)
        }
        show(readings)
        return Data(metrics.registry.text.utf8)
    }

    /// Nil when the database cannot say, or does not in the time that a check has; who asks next may hear that answer.
    private func measures() async -> Measures? {
        let question = self.question ?? Task { await ask() }
        self.question = question
        return await question.outcome(within: limits.healthCheckTime) ?? nil
    }

    private func ask() async -> Measures? {
        defer { question = nil }
        let since = Timestamp.now().milliseconds - Int64(limits.endedRunTime / .milliseconds(1))
        return try? await sources.store.runMeasures(
            limit: limits.meteredRuns, endedSince: Timestamp(milliseconds: since))
    }

    /// Waits for a question that is under way: the database must not be closed before. Nobody asks any more.
    func finish() async {
        _ = await question?.value
    }

    /// What is not among the readings any more goes: runs end, and are deleted.
    private func show(_ readings: [Reading]) {
        var shown = [String: Meter](minimumCapacity: readings.count)
        for (name, labels, value) in readings {
            let key = "\(name) \(labels)"
            let meter = meters[key] ?? Meter(label: name, dimensions: labels, factory: metrics.registry)
            meter.set(value)
            shown[key] = meter
        }
        for (key, meter) in meters where shown[key] == nil { meter.destroy() }
        meters = shown
    }

    private func coordinator(_ http: ConnectionTable, _ checks: [Health.Check]) async -> [Reading] {
        let version = CoordinatorVersion.current
        let (streams, path) = (http.streamCount, sources.store.path)
        var readings: [Reading] = [
            (
                "moe_coordinator_build_info", [("version", version.version), ("commit", version.commit ?? "")], 1
            ),
            ("moe_coordinator_start_time_seconds", [], Double(start.milliseconds) / 1_000),
            ("moe_coordinator_connections", [], Double(sources.connections.count)),
            ("moe_coordinator_http_connections", [], Double(http.count - streams)),
            ("moe_coordinator_http_streams", [], Double(streams)),
            ("moe_coordinator_queued_changes", [], Double(await sources.processor.queuedChanges)),
            ("moe_coordinator_shed_reports_total", [], Double(await sources.processor.shedReports)),
            (
                "moe_coordinator_unplanned_reports_total", [],
                Double(await sources.planning.leftOutReports + sources.planning.droppedReports)
            ),
        ]
        for check in checks {
            readings.append(
                ("moe_coordinator_check_failed", [("check", check.name)], check.failure == nil ? 0 : 1))
        }
        if let free = Health.freeBytes(at: path) {
            readings.append(("moe_coordinator_free_disk_bytes", [], Double(free)))
        }
        let files = [path, path + "-wal"].compactMap(Self.size)
        if !files.isEmpty { readings.append(("moe_coordinator_database_bytes", [], Double(files.reduce(0, +)))) }
        return readings
    }

    private static func size(_ path: String) -> Int? {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : nil
    }

    private static func readings(_ measures: RunMeasures) -> [Reading] {
        let labels = [("run", measures.run)]
        let states: [RunSummary.State] = [.running, .completed, .failed, .interrupted]
        return states.map { ("moe_run_state", labels + [("state", $0.rawValue)], $0 == measures.state ? 1 : 0) }
            + (measures.progress.map { readings($0, labels) } ?? [])
    }

    private static func readings(_ run: RunProgress, _ labels: [(String, String)]) -> [Reading] {
        func reading(_ name: String, _ value: Double?) -> Reading? { value.map { ("moe_run_" + name, labels, $0) } }
        let interval = run.interval
        let readings = [
            reading("step", run.step.map(Double.init)), reading("loss", run.loss),
            reading("last_report_timestamp_seconds", Double(run.heardAt.milliseconds) / 1_000),
            reading("oldest_report_timestamp_seconds", Double(run.longestSilentSince.milliseconds) / 1_000),
            reading("reports_total", Double(run.reports)), reading("plan_revision", Double(run.planRevision)),
            reading("world_size", Double(run.worldSize)),
            reading("reported_ranks", interval.map { Double($0.ranks) }),
            reading("tokens_per_second", interval?.tokensPerSecond), reading("step_seconds", interval?.stepSeconds),
            reading("balance_ratio", interval?.balance), reading("load_balance_ratio", interval?.loadBalance),
            reading("dropped_ratio", interval?.droppedShare),
            reading("migration_bytes_total", run.migrationBytes),
            reading("migration_seconds_total", run.migrationSeconds),
        ]
        var present = readings.compactMap { $0 }
        for (phase, seconds) in phases(interval?.phases ?? [:]) {
            let own = labels + [("phase", phase)]
            present.append(("moe_run_phase_seconds", own, seconds.mean))
            present.append(("moe_run_slowest_phase_seconds", own, seconds.largest))
        }
        return present
    }

    /// Those that moe-worker tells of, and the sums of others, which may have names without end.
    private static func phases(_ phases: [String: Interval.Phase]) -> [String: Interval.Phase] {
        var sums = [String: Interval.Phase]()
        for (name, seconds) in phases {
            let known = PerformanceSample.phases.contains(name) ? name : "other"
            sums[known, default: Interval.Phase(mean: 0, largest: 0)].mean += seconds.mean
            sums[known]?.largest += seconds.largest
        }
        return sums
    }
}
