import ControlProtocol
import ExpertPlacement
import Foundation
import Logging
import PlanningPrograms
import Synchronization

/// Drives a planner for each run: fed with reports once they are durable, it proposes plans, takes back stale ones, where that
/// is not disabled, and tells what plans have brought.
///
/// Policies run on threads of their own. Nobody waits for them: a report is put in a queue, and that is all.
package actor PlanningLoop {
    private struct Entry {
        var planner: RunPlanner?
        /// There can be no planner for this.
        var unplannable: PlanningContext.Subject?
        var reports: [Report] = []
        var isBusy = false
        var lastUse = 0
    }

    /// Intervals of stored reports that a planner is made from.
    static let storedIntervals = 64

    private let host: any PlanningHost
    private let configuration: PlanningConfiguration
    private let limits: Limits
    private let metrics: CoordinatorMetrics
    private let logger: Logger
    private let cancellation = PlanningCancellation()
    private let turnstile: Turnstile
    /// Policies that wait until others have ended.
    package nonisolated var waitingPolicies: Int { turnstile.waitingCount }
    private var entries: [String: Entry] = [:]
    private var uses = 0
    /// Reports that were dealt with so far.
    package private(set) var plannedReports = 0
    /// Reports that planning left out because too many waited.
    package private(set) var leftOutReports = 0
    package private(set) var isRunning = false
    private let dropped = Mutex(RefusedReports())
    /// Reports that came faster than they were looked at.
    package nonisolated var droppedReports: Int { dropped.withLock { $0.count } }
    private let inbox: AsyncStream<Report>
    private let sender: AsyncStream<Report>.Continuation

    package init(
        host: any PlanningHost, configuration: PlanningConfiguration, limits: Limits = .standard,
        metrics: CoordinatorMetrics = CoordinatorMetrics(), logger: Logger
    ) {
        self.host = host
        self.configuration = configuration
        self.limits = limits
        self.metrics = metrics
        self.logger = logger
        turnstile = Turnstile(limits.planningThreads)
        (inbox, sender) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(limits.queuedReports))
    }

    /// Takes a report that is durable. Returns at once.
    package nonisolated func applied(_ report: Report) {
        switch sender.yield(report) {
        case .dropped: drop()
        case .enqueued(let room) where room >= limits.queuedReports / 2: tellOfDroppedReports()
        default: break
        }
    }

    private nonisolated func drop() {
        guard dropped.withLock({ $0.add() }) else { return }
        logger.warning(
            "planning leaves out reports: too many wait for it", metadata: ["limit": "\(limits.queuedReports)"])
    }

    private nonisolated func tellOfDroppedReports() {
        guard let untold = dropped.withLock({ $0.takeUntold() }) else { return }
        logger.notice("planning takes all reports again", metadata: ["refused": "\(untold)"])
    }

    /// Works until `stop` or cancellation.
    package func run() async {
        isRunning = true
        defer { isRunning = false }
        await withDiscardingTaskGroup { planning in
            for await report in inbox {
                guard queue(report) else { continue }
                planning.addTask { await self.work(on: report.run) }
            }
            cancellation.cancel()
        }
    }

    /// Ends what is under way, programs too.
    package nonisolated func stop() {
        cancellation.cancel()
        sender.finish()
    }

    /// What is to be expected of an operator's plan.
    /// - Throws: `PlacementError` when it does not suit the run, or does not fit the memory of its ranks.
    package func examine(
        _ plan: PlacementPlan, of run: String, _ context: PlanningContext
    ) async throws -> PlanPrediction {
        let planner: RunPlanner
        do {
            planner = try await self.planner(of: run, context)
        } catch is PlacementError {
            // The run's allocator is not known here, and not asked.
            planner = try await informed(
                RunPlanner(context.subject, allocator: StaticAllocator(.expertParallel)), of: run)
        }
        return try await onThread { try planner.examine(plan, current: context.plan) }
    }

    /// A better plan than the active one, now; nil: there is none.
    package func propose(of run: String, _ context: PlanningContext) async throws -> PlanProposal? {
        let planner = try await planner(of: run, context)
        do {
            return try await onThread {
                var planner = planner
                return try planner.propose(context)
            }
        } catch {
            guard cancellation.isCancelled else { throw error }
            throw ControlError(.overloaded, "the coordinator is ending; ask again when it is back")
        }
    }

    /// - Returns: whether nobody works on the run yet.
    private func queue(_ report: Report) -> Bool {
        uses += 1
        return queue(report, in: &entries[report.run, default: Entry()])
    }

    private func queue(_ report: Report, in entry: inout Entry) -> Bool {
        entry.lastUse = uses
        if entry.reports.count >= limits.planningReports {
            let excess = (limits.planningReports + 1) / 2
            entry.reports.removeFirst(excess)
            leftOutReports += excess
            logger.warning(
                "the planning of a run leaves out reports; its policy takes too long",
                metadata: ["run": "\(report.run)", "reports": "\(excess)"])
        }
        entry.reports.append(report)
        guard !entry.isBusy else { return false }
        entry.isBusy = true
        return true
    }

    /// Works until no report of the run is waiting.
    private func work(on run: String) async {
        while let reports = entries[run]?.reports, !reports.isEmpty, !cancellation.isCancelled {
            entries[run]?.reports = []
            let start = ContinuousClock.now
            do {
                try await plan(run, reports)
                metrics.planned(in: .now - start)
            } catch is CancellationError {
                break
            } catch {
                // The next report finds it without a planner, and makes one from what is stored.
                entries[run]?.planner = nil
                logger.warning(
                    "planning was interrupted", metadata: ["run": "\(run)", "reason": "\(StoreError.reason(error))"])
            }
            plannedReports += reports.count
        }
        entries[run]?.isBusy = false
        evict()
    }

    private func plan(_ run: String, _ reports: [Report]) async throws {
        guard let context = try await host.planningContext(of: run), !context.hasEnded else {
            entries[run]?.planner = nil
            return
        }
        guard entries[run]?.unplannable != context.subject else { return }
        var planner: RunPlanner
        do {
            planner = try await self.planner(of: run, context)
        } catch let error as PlacementError {
            entries[run]?.unplannable = context.subject
            guard proposes else { return }
            let failure = PlanningOutcome.failed(
                who: "allocator \(context.subject.allocator)", why: EventText.line("\(error)"))
            try await host.record(failure, of: run, incarnation: context.subject.incarnation)
            return
        }
        let (known, cancellation, proposing) = (planner, cancellation, proposes)
        let outcomes: [PlanningOutcome]
        (planner, outcomes) = await onThread {
            var planner = known
            planner.record(reports)
            let outcomes = cancellation.isCancelled ? [] : planner.plan(context, proposing: proposing)
            return (planner, outcomes)
        }
        entries[run]?.planner = planner
        // What a program that was ended by us said is no failure of its own.
        if cancellation.isCancelled { return }
        for outcome in outcomes {
            if case .failed(_, let why) = outcome {
                logger.warning("no plan", metadata: ["run": "\(run)", "reason": "\(why)"])
            }
            try await host.record(outcome, of: run, incarnation: context.subject.incarnation)
        }
    }

    /// The planner of the run as it is now, made from stored reports when there is none yet.
    private func planner(of run: String, _ context: PlanningContext) async throws -> RunPlanner {
        if let planner = entries[run]?.planner, planner.subject == context.subject { return planner }
        let allocator = try configuration.allocator(
            named: context.subject.allocator, limits: limits, memoryLimits: context.subject.cluster.memoryLimits,
            cancellation: cancellation)
        let planner = try await informed(
            RunPlanner(
                context.subject, allocator: allocator, intervalSteps: configuration.options.intervalSteps), of: run)
        entries[run]?.planner = planner
        return planner
    }

    /// `planner` with what is stored of its incarnation.
    private func informed(_ planner: RunPlanner, of run: String) async throws -> RunPlanner {
        let subject = planner.subject
        let count = min(limits.storedReportsPerRun, Self.storedIntervals * subject.cluster.worldSize)
        let stored = try await host.storedReports(of: run, incarnation: subject.incarnation, limit: count)
        return await onThread {
            var planner = planner
            planner.record(stored)
            return planner
        }
    }

    private var proposes: Bool { configuration.options.enabled ?? true }

    /// Forgets the planners used longest ago.
    private func evict() {
        let idle = entries.filter { !$0.value.isBusy }.sorted { $0.value.lastUse < $1.value.lastUse }
        for (run, _) in idle.prefix(max(0, entries.count - limits.residentRuns)) { entries[run] = nil }
    }

    /// Runs what may take long outside of Swift's pool of threads, which the server needs and has the first right to the processors.
    private nonisolated func onThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await turnstile.pass { await OwnThread.run(niceness: 10, body) }
    }

    private nonisolated func onThread<Value: Sendable>(
        _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await turnstile.pass { try await OwnThread.run(niceness: 10, body) }
    }
}
