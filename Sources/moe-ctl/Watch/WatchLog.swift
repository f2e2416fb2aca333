import ControlProtocol
import Files
import Listings

/// A run as lines, for logs and pipes: one for each interval of steps and for each event, and when nothing comes any more, until
/// it ends.
struct WatchLog {
    private var lastEvent: Int?
    private var lastInterval: Int?
    private var isDisconnected = false
    private var isStale = false
    /// Lines of what was before, as tail(1) has them.
    private static let linesBefore = 10

    mutating func follow(_ watcher: RunWatcher, every interval: Duration) async throws {
        while true {
            let run = try await watcher.next()
            try show(run)
            if run.trouble == nil, run.summary.state != .running { return }
            try await Task.sleep(for: interval)
        }
    }

    private mutating func show(_ run: WatchedRun) throws {
        let hasEnded = run.summary.state != .running
        let isFirst = lastEvent == nil && lastInterval == nil
        var lines = [(at: Timestamp, text: String)]()
        for event in run.events where event.number > lastEvent ?? -1 {
            let plan = event.event.revision.map { "  plan \($0)" } ?? ""
            lines.append((event.event.at, "\(event.event.kind.rawValue)\(plan)  \(event.event.why)"))
            lastEvent = event.number
        }
        for interval in run.intervals where interval.number > lastInterval ?? -1 {
            // Others may still add to the last one.
            guard
                interval.ranks >= run.summary.worldSize || interval.number < run.intervals.last?.number ?? 0 || hasEnded
            else { break }
            lines.append((interval.receivedAt, Self.text(interval)))
            lastInterval = interval.number
        }
        // Stable: what came at the same moment stays in order.
        let sorted = lines.enumerated().sorted { ($0.element.at, $0.offset) < ($1.element.at, $1.offset) }
        for (_, line) in sorted.suffix(isFirst ? Self.linesBefore : lines.count) {
            try write(line.text, at: line.at)
        }
        try showStaleness(of: run)
        if let trouble = run.trouble, !isDisconnected {
            StandardError.write("Note: \(trouble.message); trying again.")
        } else if run.trouble == nil, isDisconnected {
            StandardError.write("Note: the coordinator is there again.")
        }
        isDisconnected = run.trouble != nil
    }

    /// A line when reports stay away, and one when they come again. Without the coordinator nobody knows.
    private mutating func showStaleness(of run: WatchedRun) throws {
        guard run.trouble == nil else { return }
        let now = Timestamp.now()
        let staleness = run.staleness(now: now)
        if let staleness, !isStale {
            try write(staleness, at: now)
        } else if staleness == nil, isStale, run.summary.state == .running {
            try write("reports come again", at: now)
        }
        isStale = staleness != nil
    }

    private func write(_ text: String, at moment: Timestamp) throws {
        try StandardOutput.write("\(Readable.moment(moment))  \(TerminalText.shown(text))\n")
    }

    private static func text(_ interval: Interval) -> String {
        "step \(interval.firstStep + interval.stepCount - 1)  loss \(Readable.loss(interval.loss))  "
            + "\(Readable.load(interval.tokensPerSecond)) tokens/s  step \(Readable.seconds(interval.stepSeconds))  "
            + "balance \(Readable.balance(interval.balance))  "
            + (interval.droppedShare.map { "dropped \(Readable.part($0, of: 1))  " } ?? "")
            + "plan \(interval.planRevision)"
    }
}
