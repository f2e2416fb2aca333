import ControlProtocol
import Listings

/// What a coordinator told of a run, and when it did last.
struct WatchedRun: Sendable {
    /// What is shown of a run's past.
    private static let intervalLimit = 1_000
    private static let eventLimit = 100
    private static let planLimit = 20

    private(set) var shown: RunShown
    /// Ascending, as many as there is room for; of the last one not all ranks may have reported yet.
    private(set) var intervals = [Interval]()
    private(set) var loads: IntervalLoads?
    private(set) var timings: Timings?
    /// Newest first.
    private(set) var plans = [PlanSummary]()
    /// Ascending.
    private(set) var events = [NumberedEvent]()
    /// Why the coordinator cannot be asked, and since when.
    var trouble: (message: String, since: Timestamp)?

    var summary: RunSummary { shown.summary }

    /// Without the last one as long as not all ranks have reported it.
    var wholeIntervals: ArraySlice<Interval> {
        intervals.dropLast(intervals.last.map { $0.ranks < summary.worldSize } ?? false ? 1 : 0)
    }

    /// Asks for everything.
    init(_ run: String, over client: ControlClient) async throws {
        shown = try await client.send(ShowRun(run: run))
        try await refresh(over: client)
    }

    /// Asks for what is new.
    mutating func refresh(over client: ControlClient) async throws {
        let run = summary.run
        shown = try await client.send(ShowRun(run: run))
        plans = try await client.send(ListPlans(run: run, limit: Self.planLimit)).plans
        let newEvents = try await client.send(
            ListEvents(run: run, after: events.last?.number, limit: Self.eventLimit))
        events = (events + newEvents.events).suffix(Self.eventLimit)
        try await refreshIntervals(over: client)
        loads = try await client.send(ListLoads(run: run, limit: 1)).loads.last ?? loads
        do {
            timings = try await client.send(ShowTimings(run: run))
        } catch {
            guard error.code == .unknownStep else { throw error }
            timings = nil
        }
        trouble = nil
    }

    /// Ranks may have added to the last two.
    private mutating func refreshIntervals(over client: ControlClient) async throws {
        var isComplete = false
        intervals.removeLast(min(2, intervals.count))
        while !isComplete {
            let page = try await client.send(
                ListIntervals(run: summary.run, after: intervals.last?.number, limit: Self.intervalLimit))
            intervals = (intervals + page.intervals).suffix(Self.intervalLimit)
            isComplete = !page.truncated || page.intervals.isEmpty
        }
    }

    /// What to say when nothing has come for longer than it takes to come: several intervals as long as the last one, and some
    /// seconds at least.
    func staleness(now: Timestamp) -> String? {
        guard summary.state == .running else { return nil }
        let interval = intervals.last.map { $0.stepSeconds * Double($0.stepCount) } ?? 0
        let last = summary.reportedAt ?? summary.startedAt
        guard Double(now.milliseconds - last.milliseconds) / 1000 > max(30, 5 * interval) else { return nil }
        return "stale: nothing was reported for \(Readable.age(last, now: now)), though the run has not ended"
    }
}
