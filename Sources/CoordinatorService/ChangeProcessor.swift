import ControlProtocol
import CoordinatorCore
import Logging
import Synchronization

/// Feeds requests to the state machine one after the other, and answers each when its changes are durable.
///
/// Requests that queue up while a transaction is being synced share the next one (group commit), so that durability does not
/// cost throughput.
package actor ChangeProcessor {
    private struct Item {
        let request: ChangeRequest
        let answer: CheckedContinuation<Answer, Never>
    }

    private let store: CoordinatorStore
    private let limits: Limits
    private let changes: RunChanges
    private let metrics: CoordinatorMetrics
    private let now: @Sendable () -> Timestamp
    private let logger: Logger
    /// Stands still while the machine sleeps, and nobody can be heard.
    private let start = SuspendingClock.now
    private var core: CoordinatorCore
    private var queue: [Item] = []
    private var queuedReports = 0
    private var shed = RefusedReports()
    /// Reports that were refused because too many waited.
    package var shedReports: Int { shed.count }
    /// Runs that are being deleted.
    private var deletions = Set<String>()
    private let isStopping = Mutex(false)
    /// Nobody works through the queue any more.
    private var hasEnded = false
    private let wakeUps: AsyncStream<Void>
    private let wakeUp: AsyncStream<Void>.Continuation

    /// - Parameters:
    ///   - programs: allocators that are programs.
    ///   - changes: where to count what is committed.
    package init(
        store: CoordinatorStore, limits: Limits, programs: Set<String> = [], changes: RunChanges = RunChanges(),
        metrics: CoordinatorMetrics = CoordinatorMetrics(),
        now: @escaping @Sendable () -> Timestamp, logger: Logger
    ) {
        self.store = store
        self.limits = limits
        self.changes = changes
        self.metrics = metrics
        self.now = now
        self.logger = logger
        core = CoordinatorCore(limits: limits, programs: programs)
        (wakeUps, wakeUp) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Changes that wait to be committed.
    package var queuedChanges: Int { queue.count }

    /// The answer to `request`. What it says is durable.
    package func answer(to request: ChangeRequest) async -> Answer {
        guard !deletions.contains(request.run) else {
            return .refused(ControlError(.overloaded, "run \(request.run) is being deleted; try again later"))
        }
        return await queuedAnswer(to: request)
    }

    /// Deletes a run that has ended. What may be large goes first, a little in each transaction, for everybody waits for one.
    /// Meanwhile nothing is heard of the run. A failure, or the end of the coordinator, leaves what has not gone yet.
    package func delete(_ request: DeleteRun) async -> Answer {
        if request.dryRun || deletions.contains(request.run) { return await answer(to: .deleteRun(request)) }
        deletions.insert(request.run)
        defer { deletions.remove(request.run) }
        var question = request
        question.dryRun = true
        // All requests that were there before are through when this one is.
        let outlook = await queuedAnswer(to: .deleteRun(question))
        if case .refused = outlook { return outlook }
        var isBegun = false
        do {
            while true {
                guard !isStopping.withLock(\.self) else {
                    return .refused(
                        ControlError(
                            .overloaded,
                            "the coordinator is ending, and run \(request.run) is not deleted yet; ask again when it is back"
                        ))
                }
                guard try await store.dropPart(of: request.run) else { break }
                isBegun = true
            }
        } catch {
            metrics.commitFailed()
            logger.error(
                "the database does not delete a run",
                metadata: ["run": "\(request.run)", "reason": "\(StoreError.reason(error))"])
            return .refused(isBegun ? .deletedInPart(request.run) : .storageUnavailable(error))
        }
        let answer = await queuedAnswer(to: .deleteRun(request))
        if isBegun, case .refused(let error) = answer, error.code == .storageUnavailable {
            return .refused(.deletedInPart(request.run))
        }
        return answer
    }

    private func queuedAnswer(to request: ChangeRequest) async -> Answer {
        guard queue.count < limits.queuedChanges else {
            return .refused(.queueIsFull(limits.queuedChanges, "changes"))
        }
        guard !hasEnded else { return .refused(ControlError(.overloaded, "the coordinator has stopped")) }
        let reports = request.reportCount
        if reports > 0, queuedReports + reports > limits.queuedReports {
            if shed.add(reports) {
                logger.warning(
                    "reports are refused: too many wait for the database",
                    metadata: ["limit": "\(limits.queuedReports)"])
            }
            return .refused(.queueIsFull(limits.queuedReports, "reports"))
        }
        return await withCheckedContinuation { continuation in
            queue.append(Item(request: request, answer: continuation))
            queuedReports += reports
            wakeUp.yield()
        }
    }

    /// What planning a run depends on, as the state machine has it, or else the database; nil: there is no such run. It may be
    /// ahead of the database by what is being committed: whatever is decided from it is held against the run's state again.
    func planningContext(of run: String) async throws -> PlanningContext? {
        if let context = core.state(of: run).map(PlanningContext.init) { return context }
        // The run stays out of the state machine: a request that is handled meanwhile might change it.
        return try await store.state(of: run).map(PlanningContext.init)
    }

    /// Works until `stop` or cancellation, and through what is queued then. Later requests are refused.
    package func run() async {
        for await _ in wakeUps {
            while !queue.isEmpty { await processBatch() }
            tellOfShedReports()
        }
        while !queue.isEmpty { await processBatch() }
        hasEnded = true
    }

    package func stop() {
        wakeUp.finish()
    }

    /// From here on deletions that take long are left as they are.
    package nonisolated func beginStopping() {
        isStopping.withLock { $0 = true }
    }

    private func tellOfShedReports() {
        guard let untold = shed.takeUntold() else { return }
        logger.notice("reports are taken again", metadata: ["refused": "\(untold)"])
    }

    private func processBatch() async {
        let batch = Array(queue.prefix(limits.changesPerCommit))
        queue.removeFirst(batch.count)
        queuedReports -= batch.reduce(0) { $0 + $1.request.reportCount }
        var changes = [Change]()
        var answers = [Answer?](repeating: nil, count: batch.count)
        // Others wait while a run is read: once in a batch is enough.
        var unreadableRuns = [String: Answer]()
        for (index, item) in batch.enumerated() {
            if let refusal = unreadableRuns[item.request.run] {
                answers[index] = refusal
                continue
            }
            let request: ChangeRequest
            do {
                try await restore(item.request.run)
                request = try await completed(item.request)
            } catch {
                // Of this run alone: others may be whole.
                let refusal = Answer.refused(.storageUnavailable(error))
                answers[index] = refusal
                unreadableRuns[item.request.run] = refusal
                logger.error(
                    "the database does not give a run",
                    metadata: ["run": "\(item.request.run)", "reason": "\(StoreError.reason(error))"])
                continue
            }
            for action in handle(.requested(request, Ticket(index))) {
                switch action {
                case .store(let change): changes.append(change)
                case .answer(let ticket, let answer): answers[ticket.number] = answer
                }
            }
        }
        do {
            if !changes.isEmpty {
                Failpoint.reach(.beforeCommit)
                let start = ContinuousClock.now
                try await store.commit(changes)
                metrics.committed(changes.count, in: .now - start)
                Failpoint.reach(.afterCommit)
                self.changes.record(changes)
            }
            _ = handle(.committed)
        } catch {
            // Even refusals may have come from changes that did not happen.
            _ = handle(.commitFailed)
            metrics.commitFailed()
            logger.error("the database takes no changes", metadata: ["reason": "\(StoreError.reason(error))"])
            let refusal = Answer.refused(.storageUnavailable(error))
            answers = [Answer?](repeating: refusal, count: batch.count)
        }
        for (item, answer) in zip(batch, answers) {
            item.answer.resume(returning: answer ?? .refused(ControlError(.badRequest, "the request has no answer")))
        }
    }

    private func handle(_ event: Event) -> [Action] {
        core.handle(event, at: now(), uptime: .now - start)
    }

    /// The request with what the state machine does not keep.
    private func completed(_ request: ChangeRequest) async throws -> ChangeRequest {
        guard case .planProgress(let progress, _) = request, core.isRevived(by: progress) else { return request }
        let plan = try await store.planInFlight(of: progress.run, revision: progress.revision)
        return .planProgress(progress, withdrawn: plan)
    }

    private func restore(_ run: String) async throws {
        if core.isResident(run) { return }
        if let state = try await store.state(of: run) {
            _ = handle(.restored(state))
        } else if let numbers = try await store.usedNumbers(of: run) {
            _ = handle(.known(numbers, of: run))
        }
    }
}

extension ControlError {
    fileprivate static func queueIsFull(_ limit: Int, _ what: String) -> ControlError {
        ControlError(.overloaded, "\(limit) \(what) are queued already (queued \(what)); try again later")
    }

    fileprivate static func deletedInPart(_ run: String) -> ControlError {
        ControlError(
            .storageUnavailable,
            "run \(run) is deleted in part: the coordinator's database takes no more changes, and its log says why; ask again"
        )
    }

    static func storageUnavailable(_ error: any Error) -> ControlError {
        ControlError(
            .storageUnavailable,
            "the coordinator's database is not available (\(StoreError.reason(error))); nothing was changed, try again later"
        )
    }
}
