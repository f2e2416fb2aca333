import ControlProtocol

/// The coordinator's decisions: a state machine that turns events into actions. It does no I/O and has no clock, so every
/// schedule of events can be replayed.
///
/// It holds a working set of runs. Whoever drives it brings a run in with `restored` before the first request about it, and
/// tells it how each transaction ended; what a failed one would have changed is forgotten with the whole working set, and
/// read from the database again.
public struct CoordinatorCore: ~Copyable {
    let limits: Limits
    /// Allocators that are known besides those of `Allocators`: programs.
    let programs: Set<String>
    var runs: [String: RunState] = [:]
    /// Of runs that are not there, until the next commit.
    var usedNumbers: [String: UsedNumbers] = [:]
    /// When the ranks of each run were last heard of, as uptime. Those of other runs were not, since the coordinator started.
    private var leases: [String: Duration] = [:]
    private var uptime = Duration.zero
    /// Runs by their last use, oldest first, for those in `runs`.
    private var lastUses: [String: Int] = [:]
    private var uses = 0

    /// - Parameter programs: allocators that decide from measurements only; a run's first plan is that of `expert-parallel`.
    public init(limits: Limits = .standard, programs: Set<String> = []) {
        self.limits = limits
        self.programs = programs
    }

    /// Whether requests about `run` can be handled without `restored`. A run that is unknown to the database never needs it.
    public func isResident(_ run: String) -> Bool {
        runs[run] != nil || usedNumbers[run] != nil
    }

    /// The state of a resident run.
    public func state(of run: String) -> RunState? {
        runs[run]
    }

    /// - Parameters:
    ///   - time: now, for what is recorded. Nothing is decided by it.
    ///   - uptime: how long the coordinator has been running, by a clock that nobody sets.
    public mutating func handle(_ event: Event, at time: Timestamp, uptime: Duration = .zero) -> [Action] {
        self.uptime = max(self.uptime, uptime)
        switch event {
        case .restored(let state):
            runs[state.run] = state
            markUse(of: state.run)
            return []
        case .known(let numbers, let run):
            usedNumbers[run] = numbers
            return []
        case .requested(let request, let ticket):
            return handle(request, ticket: ticket, at: time)
        case .committed:
            usedNumbers = [:]
            evict()
            return []
        case .commitFailed:
            runs = [:]
            usedNumbers = [:]
            lastUses = [:]
            return []
        }
    }

    private mutating func handle(_ request: ChangeRequest, ticket: Ticket, at time: Timestamp) -> [Action] {
        do throws(ControlError) {
            var (changes, answer) = try apply(request, at: time)
            markUse(of: request.run)
            if request.isFromRanks {
                leases[request.run] = uptime
                changes += bringBack(request.run, at: time)
            }
            return changes.map(Action.store) + [.answer(ticket, answer)]
        } catch {
            return [.answer(ticket, .refused(error))]
        }
    }

    private mutating func apply(
        _ request: ChangeRequest, at time: Timestamp
    ) throws(ControlError) -> (changes: [Change], answer: Answer) {
        switch request {
        case .registerRun(let request): try register(request, at: time)
        case .registerWorker(let request): try register(request, at: time)
        case .report(let request): try apply(CollectionOfOne(request), at: time)
        case .reports(let request): try apply(request.each, at: time)
        case .finishRun(let request): try finish(request, at: time)
        case .pollPlan(let request): try offer(request)
        case .planProgress(let request, let withdrawn): try apply(request, withdrawn: withdrawn, at: time)
        case .recordCheckpoint(let request): try record(request, at: time)
        case .proposePlan(let submission): try propose(submission, at: time)
        case .controlPlanning(let request, let run): try control(request, run: run, at: time)
        case .recordPlanning(let record): try self.record(record, at: time)
        case .archiveRun(let request): try archive(request, at: time)
        case .deleteRun(let request): try delete(request, at: time)
        }
    }

    /// Checks that a message comes from the current incarnation of a run. Returns no state: a copy of it that is still alive
    /// would make every change in place copy the workers of the run.
    /// - Throws: `unknown_run`, `stale_incarnation`, `unknown_incarnation`.
    func requireCurrent(_ run: String, incarnation: Int) throws(ControlError) {
        guard let newest = runs[run]?.incarnation else { throw .unknownRun(run) }
        guard incarnation >= newest else {
            throw ControlError(
                .staleIncarnation,
                "incarnation \(incarnation) of run \(run) is over; incarnation \(newest) was registered since")
        }
        guard incarnation == newest else {
            throw ControlError(
                .unknownIncarnation,
                "incarnation \(incarnation) of run \(run) was never given out; the newest is \(newest)")
        }
    }

    private mutating func markUse(of run: String) {
        uses += 1
        lastUses[run] = runs[run] == nil ? nil : uses
    }

    /// For how long the ranks of a run have not been heard of; at most for as long as somebody listens.
    func silence(of run: String) -> Duration {
        uptime - leases[run, default: .zero]
    }

    /// Forgets the runs used longest ago, and what is over of their leases. Only after a commit: before, the database does not hold all that they are.
    private mutating func evict() {
        if leases.count > 2 * limits.residentRuns { leases = leases.filter { uptime - $0.value < limits.silentTime } }
        let excess = runs.count - limits.residentRuns
        guard excess > 0 else { return }
        for run in runs.keys.sorted(by: { lastUses[$0, default: 0] < lastUses[$1, default: 0] }).prefix(excess) {
            runs[run] = nil
            lastUses[run] = nil
        }
    }
}
