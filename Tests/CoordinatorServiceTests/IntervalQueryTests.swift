import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import CoordinatorService
import ExpertPlacement
import GRDB
import Synchronization
import TestSupport
import Testing

/// What reports come to, interval by interval.
struct IntervalQueryTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// Applies requests in transactions of `batch`, at times that count up from 1.
    private func apply(
        _ requests: [ChangeRequest], to store: CoordinatorStore, limits: Limits = .standard, batch: Int = 1
    ) async throws {
        var core = CoordinatorCore(limits: limits)
        for start in stride(from: 0, to: requests.count, by: batch) {
            var changes = [Change]()
            for index in start..<min(start + batch, requests.count) {
                let time = Timestamp(milliseconds: Int64(index + 1))
                for action in core.handle(.requested(requests[index], Ticket(0)), at: time) {
                    if case .store(let change) = action { changes.append(change) }
                    if case .answer(_, .refused(let error)) = action { throw error }
                }
            }
            try await store.commit(changes)
            _ = core.handle(.committed, at: .now())
        }
    }

    private func start(worldSize: Int, registration: String = "a1", incarnation: Int = 1) -> [ChangeRequest] {
        [.registerRun(Samples.registerRun(registration: registration, worldSize: worldSize))]
            + (0..<worldSize).map { .registerWorker(Samples.registerWorker(incarnation: incarnation, rank: $0)) }
    }

    private func sample(_ firstStep: Int, seconds: Double, experts: Double, loads: [[Int]]? = nil) -> PerformanceSample
    {
        var sample = Samples.sample(firstStep: firstStep, loads: loads, loss: loads == nil ? nil : 2.5)
        sample.stepSeconds = seconds
        sample.phaseSeconds["experts"] = experts
        return sample
    }

    @Test func anIntervalFillsAsReportsCome() async throws {
        try await LiveCoordinator.run { coordinator in
            let client = try await coordinator.client()
            _ = try await client.send(Samples.registerRun())
            for rank in 0..<2 { _ = try await client.send(Samples.registerWorker(rank: rank)) }
            let slow = Samples.report(rank: 1, sample: sample(11, seconds: 20, experts: 10))
            _ = try await client.send(slow)
            // Rank 0 says how far the run is.
            #expect(try await client.send(ListIntervals()).intervals == [])
            let first = Samples.report(sample: sample(11, seconds: 10, experts: 5, loads: [[1, 2, 3], [0, 6, 0]]))
            _ = try await client.send(first)
            let interval = try #require(try await client.send(ListIntervals()).intervals.first)
            #expect(
                interval
                    == Interval(
                        number: 2, incarnation: 1, firstStep: 11, stepCount: 10, planRevision: 1,
                        receivedAt: interval.receivedAt, loss: 2.5, stepSeconds: 2, tokens: 15360,
                        tokensPerSecond: 768, bytesSent: 8192, balance: 0.75, loadBalance: 0.5,
                        phases: [
                            "dispatch": .init(mean: 0.0125, largest: 0.0125), "experts": .init(mean: 0.75, largest: 1),
                        ], ranks: 2))
            // Told again, they count once.
            for report in [slow, first] { _ = try await client.send(report) }
            let next = Samples.report(sequence: 2, sample: sample(21, seconds: 10, experts: 5))
            _ = try await client.send(next)
            let intervals = try await client.send(ListIntervals(run: "shakespeare", after: 0))
            #expect(intervals.run == "shakespeare" && !intervals.truncated)
            #expect(intervals.intervals.map(\.number) == [2, 3] && intervals.intervals.map(\.ranks) == [2, 1])
            #expect(intervals.intervals[0] == interval)
            #expect(intervals.intervals[1].loss == nil && intervals.intervals[1].loadBalance == nil)

            let loads = try await client.send(ListLoads())
            #expect(
                loads.loads == [
                    IntervalLoads(
                        number: 2, incarnation: 1, firstStep: 11, stepCount: 10, planRevision: 1,
                        expertLoads: [[1, 2, 3], [0, 6, 0]])
                ])
            // The newest that both reported, and the newest.
            let timings = try await client.send(ShowTimings())
            #expect(timings.firstStep == 11 && timings.stepCount == 10 && timings.incarnation == 1)
            #expect(timings.phases == ["dispatch", "experts"] && timings.planRevision == 1)
            let rank = RankTimings(
                rank: 0, stepSeconds: 1, seconds: [0.0125, 0.5], bytesSent: 4096, residentBytes: 1 << 20, tokens: 7680)
            #expect(timings.ranks.map(\.rank) == [0, 1] && timings.ranks[0] == rank)
            #expect(timings.ranks[1].seconds == [0.0125, 1] && timings.ranks[1].stepSeconds == 2)
            #expect(try await client.send(ShowTimings(firstStep: 21)).ranks.map(\.rank) == [0])

            let events = try await client.send(ListEvents(after: 0))
            #expect(events.events.map(\.event.kind) == [.runRegistered, .planActivated])
            #expect(events.events.map(\.event).reversed() == (try await client.send(ShowRun()).events))
            let last = try await client.send(ListEvents(after: events.events[0].number, limit: 1))
            #expect(last.events == [events.events[1]] && !last.truncated)
        }
    }

    @Test func whatIsNotThereIsNamed() async throws {
        try await LiveCoordinator.run { coordinator in
            let client = try await coordinator.client()
            func code(_ request: some ControlRequest) async -> ControlError.Code? {
                do { _ = try await client.send(request) } catch { return error.code }
                return nil
            }
            #expect(await code(ListIntervals()) == .unknownRun)
            _ = try await client.send(Samples.registerRun())
            #expect(await code(ListIntervals()) == nil)
            #expect(await code(ListIntervals(run: "nobody")) == .unknownRun)
            #expect(await code(ListLoads(run: "nobody")) == .unknownRun)
            #expect(await code(ListEvents(run: "nobody")) == .unknownRun)
            #expect(await code(ShowTimings(run: "nobody")) == .unknownRun)
            #expect(await code(ShowTimings()) == .unknownStep)
            #expect(await code(ShowTimings(firstStep: 3)) == .unknownStep)
            #expect(await code(ShowTimings(firstStep: -1)) == .badRequest)
            #expect(await code(ListEvents(after: -1)) == .badRequest)
            #expect(await code(ListLoads(limit: 0)) == .badRequest)
            #expect(await code(ListIntervals(after: 1 << 53 + 1)) == .limitExceeded)
        }
    }

    @Test func pagesAreCut() async throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        var requests = start(worldSize: 2)
        for step in 1...6 {
            for rank in 0..<2 {
                let loads = rank == 0 ? [[step, 2, 3], [4, 5, 6]] : nil
                let report = Samples.report(
                    rank: rank, sequence: step, sample: sample(10 * step, seconds: 1, experts: 1, loads: loads))
                requests.append(.report(report))
            }
        }
        try await apply(requests, to: store)
        var limits = Limits()
        // Numbers of all that there is, in pages.
        func all(_ page: (Int?) async throws -> (numbers: [Int], truncated: Bool)) async throws -> [[Int]] {
            var pages = [[Int]]()
            var isTruncated = true
            while isTruncated {
                let next = try await page(pages.last?.last ?? 0)
                pages.append(next.numbers)
                isTruncated = next.truncated
            }
            let newest = try await page(nil)
            #expect(newest.numbers == (pages.flatMap(\.self).suffix(newest.numbers.count)))
            #expect(!newest.truncated && newest.numbers.count == pages[0].count)
            return pages
        }
        for (isLimit, size) in [(true, 4), (false, 4), (true, 3), (false, 100)] {
            limits = Limits()
            if isLimit {
                (limits.listedIntervals, limits.listedLoads, limits.pagedEvents) = (size, size, size)
            }
            let limit = isLimit ? nil : size
            let numbers = [1, 3, 5, 7, 9, 11]
            let expected = stride(from: 0, to: 6, by: size).map { Array(numbers[$0..<min(6, $0 + size)]) }
            let intervals = try await all { after in
                let page = try await store.intervals(ListIntervals(after: after, limit: limit), limits: limits)
                return (page.intervals.map(\.number), page.truncated)
            }
            #expect(intervals == expected)
            let loads = try await all { after in
                let page = try await store.loads(ListLoads(after: after, limit: limit), limits: limits)
                #expect(page.loads.allSatisfy { $0.expertLoads[0][0] == $0.firstStep / 10 })
                return (page.loads.map(\.number), page.truncated)
            }
            #expect(loads == expected)
        }
        limits = Limits()
        limits.pagedEvents = 1
        let events = try await all { after in
            let page = try await store.events(ListEvents(after: after, limit: 5), limits: limits)
            return (page.events.map(\.number), page.truncated)
        }
        #expect(events == [[1], [2]])
        // An interval's loads have 17 bytes.
        for (bytes, size) in [(0, 1), (33, 1), (34, 2), (1_000, 6)] {
            limits.listedLoadBytes = bytes
            let loads = try await all { after in
                let page = try await store.loads(ListLoads(after: after), limits: limits)
                return (page.loads.map(\.number), page.truncated)
            }
            #expect(loads.map(\.count) == [Int](repeating: size, count: 6 / size), "\(bytes)")
        }
    }

    /// Steps that were done again are told of as the newest incarnation did them.
    @Test func startsAreToldApart() async throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        var requests = start(worldSize: 2)
        for rank in [0, 1] { requests.append(.report(Samples.report(rank: rank, sample: Samples.sample()))) }
        requests += start(worldSize: 1, registration: "a2", incarnation: 2)
        requests.append(.report(Samples.report(incarnation: 2)))
        try await apply(requests, to: store, batch: 100)
        let intervals = try await store.intervals(ListIntervals(), limits: .standard).intervals
        #expect(intervals.map(\.incarnation) == [1, 2] && intervals.map(\.firstStep) == [11, 11])
        #expect(intervals.map(\.ranks) == [2, 1])
        #expect(try await store.timings(ShowTimings(firstStep: 11)).incarnation == 2)
        // Two ranks reported steps of the first, but that is over.
        #expect(try await store.timings(ShowTimings()).incarnation == 2)
    }

    /// Of a world of a thousand few reports are kept, but what they came to is.
    @Test func intervalsOutliveTheirReports() async throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        var limits = Limits()
        let worldSize = 1_024
        limits.storedReportsPerRun = worldSize + 256
        var requests = start(worldSize: worldSize)
        for step in 1...3 {
            for rank in (0..<worldSize).reversed() {
                let seconds = rank == 7 ? 4.0 : 2.0
                requests.append(
                    .report(
                        Samples.report(
                            rank: rank, sequence: step, sample: sample(10 * step, seconds: 5, experts: seconds))))
            }
        }
        try await apply(requests, to: store, limits: limits, batch: limits.changesPerCommit)
        let intervals = try await store.intervals(ListIntervals(), limits: limits).intervals
        #expect(intervals.map(\.firstStep) == [10, 20, 30] && intervals.map(\.ranks) == [1_024, 1_024, 1_024])
        for interval in intervals {
            #expect(interval.tokens == 1_024 * 7_680)
            #expect(interval.phases["experts"]?.largest == 0.4)
            #expect(abs((interval.balance ?? 0) - (2.0 * 1_023 + 4) / 1_024 / 4) < 1e-9)
        }
        let timings = try await store.timings(ShowTimings())
        #expect(timings.firstStep == 30 && timings.ranks.map(\.rank) == Array(0..<1_024))
        let error = await #expect(throws: ControlError.self) { try await store.timings(ShowTimings(firstStep: 10)) }
        #expect(error?.code == .unknownStep && error?.message.contains("not kept any more") == true)
    }

    /// In whatever order and transactions reports come, they come to the same.
    @Test func totalsAreThoseOfTheReports() async throws {
        let seed = TestRuns.seed()
        var random = SeededGenerator(seed: seed)
        let worldSize = 5
        let names = ["experts", "dispatch", "a \"b\"", "Größe", "router"]
        var samples = [Int: [Int: PerformanceSample]]()
        for step in stride(from: 1, to: 40, by: 4) {
            for rank in 0..<worldSize where rank == 0 || Int.random(in: 0..<4, using: &random) > 0 {
                var phases = [String: Double]()
                for name in names where Bool.random(using: &random) {
                    phases[name] = .random(in: 0...2, using: &random)
                }
                samples[step, default: [:]][rank] = PerformanceSample(
                    firstStep: step, stepCount: 4, planRevision: 1, stepSeconds: .random(in: 1...2, using: &random),
                    phaseSeconds: phases, bytesSent: .random(in: 0...(1 << 53), using: &random),
                    tokens: .random(in: 0...1_000, using: &random), residentBytes: 1, loss: rank == 0 ? 1.5 : nil)
            }
        }
        var requests = samples.flatMap { step, ranks in
            ranks.map { rank, sample in
                ChangeRequest.report(Samples.report(rank: rank, sequence: step / 4 + 1, sample: sample))
            }
        }
        requests.shuffle(using: &random)
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        try await apply(
            start(worldSize: worldSize) + requests, to: store, batch: Int.random(in: 1...9, using: &random))
        let intervals = try await store.intervals(ListIntervals(), limits: .standard).intervals
        #expect(Set(intervals.map(\.firstStep)) == Set(samples.keys), "seed \(seed)")
        for interval in intervals {
            let reports = samples[interval.firstStep, default: [:]].values
            func isNear(_ a: Double?, _ b: Double?) -> Bool {
                guard let a, let b else { return a == nil && b == nil }
                return abs(a - b) <= 1e-12 * max(abs(a), abs(b))
            }
            #expect(interval.ranks == reports.count, "seed \(seed)")
            #expect(interval.tokens == reports.map(\.tokens).reduce(0, +), "seed \(seed)")
            #expect(interval.bytesSent == min(1 << 53, reports.map(\.bytesSent).reduce(0, +)), "seed \(seed)")
            let slowest = reports.map { $0.stepSeconds / 4 }.max() ?? 0
            #expect(isNear(interval.stepSeconds, slowest), "seed \(seed)")
            #expect(isNear(interval.tokensPerSecond, Double(interval.tokens) / slowest / 4), "seed \(seed)")
            #expect(Set(interval.phases.keys) == Set(reports.flatMap(\.phaseSeconds.keys)), "seed \(seed)")
            for (name, phase) in interval.phases {
                let seconds = reports.map { $0.phaseSeconds[name, default: 0] / 4 }
                #expect(isNear(phase.largest, seconds.max()), "seed \(seed)")
                #expect(isNear(phase.mean, seconds.reduce(0, +) / Double(reports.count)), "seed \(seed)")
                if name == "experts" { #expect(isNear(interval.balance, phase.mean / phase.largest), "seed \(seed)") }
            }
        }
    }

    /// However much there is, a page costs what it shows: nothing is scanned and nothing sorted.
    @Test func pagesAreFoundByAnIndex() async throws {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        try await apply(start(worldSize: 1) + [.report(Samples.report())], to: store)
        let statements = Mutex([String]())
        try await store.queue.writeWithoutTransaction { db in
            db.trace { event in statements.withLock { $0.append(event.expandedDescription) } }
        }
        for after in [nil, 0] {
            _ = try await store.intervals(ListIntervals(run: "shakespeare", after: after), limits: .standard)
            _ = try await store.loads(ListLoads(run: "shakespeare", after: after), limits: .standard)
            _ = try await store.events(ListEvents(run: "shakespeare", after: after), limits: .standard)
        }
        for step in [nil, 11] { _ = try await store.timings(ShowTimings(run: "shakespeare", firstStep: step)) }
        try await store.queue.writeWithoutTransaction { db in
            db.trace(options: [])
            let queries = statements.withLock { $0 }.filter { $0.hasPrefix("SELECT") }
            #expect(queries.count > 10)
            for query in queries {
                for row in try Row.fetchAll(db, sql: "EXPLAIN QUERY PLAN " + query) {
                    let detail: String = row["detail"]
                    #expect(
                        detail.hasPrefix("SEARCH")
                            || detail.hasPrefix("USE TEMP B-TREE FOR ORDER BY") && query.contains("incarnations"),
                        "\(detail): \(query)")
                }
            }
        }
    }
}
