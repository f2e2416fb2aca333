import ControlProtocol
import Listings

/// A run on one page of a terminal: how it is, its curves, who waits for whom, where the tokens go, and what happened last.
struct WatchPage {
    let run: WatchedRun
    let now: Timestamp

    func lines(_ size: Terminal.Size) -> [StyledLine] {
        var lines = StyledLine.lines(of: title, columns: size.columns, atMost: max(2, size.rows / 10))
        if let reason = run.shown.reason { lines.append(StyledLine(reason, .bold)) }
        if let warning { lines.append(warning) }
        lines.append(StyledLine())
        lines += WatchCurves(run).lines(columns: size.columns)
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

    /// The parts of most weight first: old figures mislead.
    private var title: [StyledLine] {
        let summary = run.summary
        let plain: [String?] = [
            "step \(Readable.number(summary.step))", "loss \(Readable.loss(summary.loss))",
            run.wholeIntervals.last?.tokensPerSecond.map { "\(Readable.load($0)) tokens/s" },
            "plan \(summary.planRevision)",
        ]
        let faint = [
            "\(summary.worldSize) ranks, rank 0 on \(run.shown.host)", "incarnation \(summary.incarnation)",
            "\(summary.layers) layers, \(summary.experts) experts", summary.allocator,
        ]
        return [
            StyledLine(summary.run, .bold), StyledLine(summary.state.rawValue, .bold),
            StyledLine(
                summary.reportedAt.map { "reported \(Readable.age($0, now: now)) ago" } ?? "nothing reported yet",
                .faint),
        ] + plain.compactMap { $0.map { StyledLine($0) } } + faint.map { StyledLine($0, .faint) }
    }

    /// Why what is shown may not be how it is.
    private var warning: StyledLine? {
        if let trouble = run.trouble {
            return StyledLine(
                " disconnected for \(Readable.age(trouble.since, now: now)), trying again: \(trouble.message) ",
                .inverse)
        }
        return run.staleness(now: now).map { StyledLine(" \($0) ", .inverse) }
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
