import ControlProtocol
import Listings

/// A run on one page of a terminal: how it is, its curves, who waits for whom, where the tokens go, and what happened last.
struct WatchPage {
    let run: WatchedRun
    let now: Timestamp

    func lines(_ size: Terminal.Size) -> [StyledLine] {
        var lines = [title, details]
        if let warning { lines.append(warning) }
        lines.append(StyledLine())
        lines += curves(columns: size.columns)
        let sections: [any WatchSection] = [
            RankSection(timings: run.timings), LoadSection(loads: run.loads), PlanSection(plans: run.plans),
            EventSection(events: run.events, now: now),
        ]
        for (section, rows) in zip(sections, Self.rows(of: sections, in: size.rows - lines.count)) where rows > 0 {
            lines.append(StyledLine())
            lines += section.lines(columns: size.columns, rows: rows)
        }
        return lines
    }

    // MARK: - How it is

    private var title: StyledLine {
        let summary = run.summary
        var line = StyledLine(summary.run, .bold)
        line.add("  " + summary.state.rawValue + (run.shown.reason.map { " (\($0))" } ?? ""), .bold)
        line.add("  step \(Readable.number(summary.step))  loss \(Readable.loss(summary.loss))")
        if let rate = run.wholeIntervals.last?.tokensPerSecond { line.add("  \(Readable.load(rate)) tokens/s") }
        line.add("  plan \(summary.planRevision)")
        line.add("  reported \(Readable.age(summary.reportedAt, now: now)) ago", .faint)
        return line
    }

    private var details: StyledLine {
        let summary = run.summary
        return StyledLine(
            "\(summary.worldSize) ranks, rank 0 on \(run.shown.host)  incarnation \(summary.incarnation)  "
                + "\(summary.layers) layers, \(summary.experts) experts  \(summary.allocator)", .faint)
    }

    /// Why what is shown may not be how it is.
    private var warning: StyledLine? {
        if let trouble = run.trouble {
            return StyledLine(
                " disconnected for \(Readable.age(trouble.since, now: now)): \(trouble.message); trying again ",
                .inverse)
        }
        guard run.isStale(now: now) else { return nil }
        return StyledLine(
            " stale: nothing was reported for \(Readable.age(run.summary.reportedAt ?? run.summary.startedAt, now: now)), "
                + "though the run has not ended ", .inverse)
    }

    private func curves(columns: Int) -> [StyledLine] {
        [
            curve("loss", run.intervals.map(\.loss), columns: columns, Readable.loss),
            curve("tokens/s", run.wholeIntervals.map(\.tokensPerSecond), columns: columns, Readable.load),
            curve("balance", run.wholeIntervals.map(\.balance), columns: columns, Readable.balance),
        ] + dropped(columns: columns)
    }

    /// Nothing where experts take all tokens that come.
    private func dropped(columns: Int) -> [StyledLine] {
        let shares = run.intervals.map(\.droppedShare)
        guard shares.contains(where: { $0 != nil }) else { return [] }
        return [curve("dropped", shares, columns: columns) { Readable.part($0, of: 1) }]
    }

    private func curve(
        _ name: String, _ values: [Double?], columns: Int, _ text: (Double?) -> String
    ) -> StyledLine {
        let known = values.compactMap { $0 }
        var line = StyledLine(Self.padded(name, 10))
        guard let last = known.last, let least = known.min(), let largest = known.max() else {
            line.add("nothing reported yet", .faint)
            return line
        }
        line.add(Blocks.curve(values, columns: max(10, columns - 42)), .color(75))
        line.add(" \(text(last))", .bold)
        line.add(" of \(text(least)) to \(text(largest))", .faint)
        return line
    }

    // MARK: - Room

    /// Rows of each section, below a blank one: a few for all, in their order, then more in turn as long as they want some.
    private static func rows(of sections: [any WatchSection], in total: Int) -> [Int] {
        var rows = [Int](repeating: 0, count: sections.count)
        var left = total
        for (index, section) in sections.enumerated() where left > section.leastRows {
            rows[index] = section.leastRows
            left -= section.leastRows + 1
        }
        while left > 0 {
            let hungry = sections.indices.filter { rows[$0] > 0 && rows[$0] < sections[$0].wantedRows }
            guard let next = hungry.min(by: { rows[$0] < rows[$1] }) else { break }
            rows[next] += 1
            left -= 1
        }
        return rows
    }

    /// Neighbours that share a row when there are more than rows, of which none stays empty.
    static func groups(_ count: Int, rows: Int) -> [Range<Int>] {
        let rows = max(1, min(rows, count))
        return (0..<rows).map { $0 * count / rows..<($0 + 1) * count / rows }
    }

    static func padded(_ text: String, _ columns: Int) -> String {
        text + String(repeating: " ", count: max(0, columns - text.count))
    }
}

/// A part of the page that makes do with the rows that it gets.
protocol WatchSection {
    var leastRows: Int { get }
    var wantedRows: Int { get }
    /// At most `rows`.
    func lines(columns: Int, rows: Int) -> [StyledLine]
}
