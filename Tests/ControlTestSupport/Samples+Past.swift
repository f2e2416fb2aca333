import ControlProtocol

/// Messages about what has been.
extension Samples {
    static var pastRequests: [any ControlRequest] {
        [
            ListIntervals(), ListIntervals(run: "shakespeare", after: 0, limit: 5), ListLoads(),
            ListLoads(run: "shakespeare", after: 7, limit: 5), ShowTimings(),
            ShowTimings(run: "shakespeare", firstStep: 11), ListEvents(),
            ListEvents(run: "shakespeare", after: 7, limit: 5),
        ]
    }

    static var pastAnswers: [any ControlMessage] {
        let time = Timestamp(milliseconds: 1_790_000_000_007)
        let phases = [
            "dispatch": Interval.Phase(mean: 0.125, largest: 0.25), "experts": .init(mean: 0.25, largest: 0.5),
        ]
        let interval = Interval(
            number: 3, incarnation: 1, firstStep: 11, stepCount: 10, planRevision: 1, receivedAt: time, loss: 2.5,
            stepSeconds: 0.5, tokens: 15360, tokensPerSecond: 3072, bytesSent: 8192, balance: 0.5, loadBalance: 0.75,
            droppedShare: 0.125, phases: phases, ranks: 2)
        let first = Interval(
            number: 1, incarnation: 1, firstStep: 1, stepCount: 0, planRevision: 0, receivedAt: time, stepSeconds: 0,
            tokens: 0, bytesSent: 0, phases: [:], ranks: 1)
        let loads = IntervalLoads(
            number: 3, incarnation: 1, firstStep: 11, stepCount: 10, planRevision: 1,
            expertLoads: [[1, 2, 3], [4, 5, 6]])
        let dropping = IntervalLoads(
            number: 4, incarnation: 1, firstStep: 21, stepCount: 10, planRevision: 1,
            expertLoads: [[1, 2, 3], [4, 5, 6]], droppedTokens: [3, 0])
        let rank = RankTimings(
            rank: 0, stepSeconds: 0.5, seconds: [0.125, 0.25], bytesSent: 4096, residentBytes: 1 << 20, tokens: 7680)
        var working = rank
        working.rank = 1
        working.expertWork = 1 << 30
        let event = RunEvent(
            kind: .planActivated, at: time, incarnation: 1, revision: 2, who: "rank 0", why: "every layer has switched")
        let registered = RunEvent(kind: .runRegistered, at: time, incarnation: 1, who: "rank 0", why: "incarnation 1")
        return [
            Intervals(run: "shakespeare", intervals: [first, interval], truncated: true),
            Intervals(run: "shakespeare", intervals: [], truncated: false),
            Loads(run: "shakespeare", loads: [loads, dropping], truncated: true),
            Loads(run: "shakespeare", loads: [], truncated: false),
            Timings(
                run: "shakespeare", incarnation: 1, firstStep: 11, stepCount: 10, planRevision: 1,
                phases: ["dispatch", "experts"], ranks: [rank, working]),
            Events(
                run: "shakespeare",
                events: [NumberedEvent(number: 4, event: registered), NumberedEvent(number: 7, event: event)],
                truncated: true), Events(run: "shakespeare", events: [], truncated: false),
        ]
    }
}
