import ControlProtocol
import ExpertPlacement
import Listings

/// What each rank's steps are made of, and how much of the slowest rank's time it spends with experts.
struct RankSection: WatchSection {
    /// Of the phases, in their order, from xterm's 256.
    private static let colors: [UInt8] = [110, 179, 73, 167, 140, 108, 174, 103]
    let timings: Timings?

    private var ranks: [RankTimings] { timings?.ranks ?? [] }
    var leastRows: Int { min(3, wantedRows) }
    var wantedRows: Int { ranks.isEmpty ? 2 : 1 + ranks.count }

    func lines(columns: Int, rows: Int) -> [StyledLine] {
        guard let timings, !ranks.isEmpty else {
            return [StyledLine("RANK", .bold), StyledLine("no rank has reported its times yet", .faint)]
        }
        // Neighbours share a row when there are more than rows: the one that the others wait for is shown.
        let groups = WatchPage.groups(ranks.count, rows: rows - 1).map { ranks[$0] }
        let isGrouped = groups.count < ranks.count
        let (barColumns, phaseColumns) = Self.parts(of: columns - 32, phases: timings.phases.count)
        let slowest = ranks.map(expertSeconds).max() ?? 0
        let longest = ranks.map(\.stepSeconds).max() ?? 0
        var header = StyledLine(WatchPage.padded(isGrouped ? "RANKS" : "RANK", 11), .bold)
        header.add(WatchPage.padded("EXPERTS" + (isGrouped ? ", SLOWEST" : ""), barColumns + 10), .bold)
        header.add("STEP       ", .bold)
        for (index, phase) in Self.shortened(timings.phases, columns: phaseColumns).enumerated() {
            header.add((index == 0 ? "" : " ") + phase, color(index))
        }
        return [header]
            + groups.map { group in
                let shown = group.max { expertSeconds($0) < expertSeconds($1) } ?? group[group.startIndex]
                let name = Readable.ranges(group.map(\.rank).sorted())
                let seconds = expertSeconds(shown)
                var line = StyledLine(WatchPage.padded(name, 11))
                line.add(Blocks.bar(slowest > 0 ? seconds / slowest : 0, columns: barColumns), .color(75))
                line.add(" " + WatchPage.padded(Readable.seconds(seconds), 9))
                line.add(WatchPage.padded(Readable.seconds(shown.stepSeconds), 11))
                add(phasesOf: shown, to: &line, columns: phaseColumns, longest: longest)
                return line
            }
    }

    /// Columns of the bars and, where there is room for the first letters of (most of) their names, of the phases.
    private static func parts(of room: Int, phases: Int) -> (bars: Int, phases: Int) {
        let least = (bars: 8, phases: 2 * min(phases, 12) - 1)
        guard phases > 0, room >= least.bars + least.phases else { return (max(0, room), 0) }
        let bars = min(max(least.bars, room / 3), room - least.phases)
        return (bars, room - bars)
    }

    /// Names that have room side by side, all cut at the same length: each says what its letter stands for.
    private static func shortened(_ names: [String], columns: Int) -> [String] {
        guard columns > 0 else { return [] }
        let longest = names.map(\.count).max() ?? 0
        let length = (0...longest).last { length in
            names.reduce(names.count - 1) { $0 + min($1.count, length) } <= columns
        }
        return names.map { String($0.prefix(max(1, length ?? 1))) }
    }

    private func expertSeconds(_ rank: RankTimings) -> Double {
        guard let place = timings?.phases.firstIndex(of: PerformanceSample.expertsPhase),
            rank.seconds.indices.contains(place)
        else { return 0 }
        return rank.seconds[place]
    }

    /// A letter for each part of the step, the phase's first; dots for what no phase has.
    private func add(phasesOf rank: RankTimings, to line: inout StyledLine, columns: Int, longest: Double) {
        guard let timings, longest > 0 else { return }
        var (sum, used) = (0.0, 0)
        func part(upTo seconds: Double) -> Int {
            let end = Int((min(max(seconds / longest, 0), 1) * Double(columns)).rounded())
            defer { used = max(used, end) }
            return max(0, end - used)
        }
        for (index, (phase, seconds)) in zip(timings.phases, rank.seconds).enumerated() {
            sum += seconds
            line.add(String(repeating: phase.first ?? "?", count: part(upTo: sum)), color(index))
        }
        line.add(String(repeating: "·", count: part(upTo: rank.stepSeconds)), .faint)
    }

    private func color(_ phase: Int) -> StyledLine.Style { .color(Self.colors[phase % Self.colors.count]) }
}
