import ControlProtocol
import Foundation

/// What the ranks of `shakespeare` reported, and what happened to it.
extension CtlSamples {
    static let phases = ["attention", "router", "dispatch", "experts", "combine", "gradients", "optimizer"]

    /// Forty intervals of 30 steps each; experts moved after the first.
    var intervals: [Interval] {
        (0..<40).map { index in
            let isBefore = index == 0
            return Interval(
                number: index + 1, incarnation: 2, firstStep: 30 * index + 1, stepCount: 30,
                planRevision: isBefore ? 2 : 3,
                receivedAt: Timestamp(milliseconds: ago(minutes: 12).milliseconds - Int64(39 - index) * 1800),
                loss: index == 39 ? 1.6671875 : 1.5 + 4 / Double(index + 1),
                stepSeconds: isBefore ? 0.0656 : 0.0573, tokens: 30 * 1024,
                tokensPerSecond: isBefore ? 15_610 : 17_870 - Double(index), bytesSent: 30 << 20,
                balance: isBefore ? 0.5525 : 0.9625, loadBalance: 0.5,
                phases: [
                    "experts": Interval.Phase(mean: 0.011, largest: isBefore ? 0.0195 : 0.0113),
                    "attention": Interval.Phase(mean: 0.0208, largest: 0.021),
                ], ranks: 4)
        }
    }

    var loads: IntervalLoads {
        IntervalLoads(
            number: 40, incarnation: 2, firstStep: 1171, stepCount: 30, planRevision: 3,
            expertLoads: [[100, 100, 100, 100], [0, 50, 150, 200], [10, 70, 110, 210]])
    }

    var timings: Timings {
        Timings(
            run: "shakespeare", incarnation: 2, firstStep: 1171, stepCount: 30, planRevision: 3, phases: Self.phases,
            ranks: (0..<4).map { rank in
                let experts = 0.0205 - 0.002 * Double(rank)
                return RankTimings(
                    rank: rank, stepSeconds: 0.0573,
                    seconds: [0.012, 0.001, 0.004 + 0.001 * Double(rank), experts, 0.004, 0.006, 0.005],
                    bytesSent: 30 << 18, residentBytes: 123_456_789, tokens: 30 * 256)
            })
    }

    var numberedEvents: [NumberedEvent] {
        shown.events.reversed().enumerated().map { NumberedEvent(number: 7 + $0, event: $1) }
    }

    /// Answers to requests for a part of these; nil for other requests.
    func answerAboutReports(_ request: AnyRequest) -> (any ControlMessage)? {
        func page<Item>(_ items: [Item], _ number: (Item) -> Int, after: Int?, limit: Int?) -> [Item] {
            guard let after else { return Array(items.suffix(limit ?? items.count)) }
            return Array(items.filter { number($0) > after }.prefix(limit ?? items.count))
        }
        switch request {
        case .listIntervals(let request):
            // In pages of 16, but for the newest.
            let limit = request.after == nil ? request.limit : 16
            let intervals = page(intervals, \.number, after: request.after, limit: limit)
            return Intervals(
                run: "shakespeare", intervals: intervals, truncated: intervals.last.map { $0.number < 40 } ?? false)
        case .listLoads: return Loads(run: "shakespeare", loads: [loads], truncated: false)
        case .showTimings: return timings
        case .listEvents(let request):
            return Events(
                run: "shakespeare",
                events: page(numberedEvents, \.number, after: request.after, limit: request.limit), truncated: false)
        default: return nil
        }
    }
}
