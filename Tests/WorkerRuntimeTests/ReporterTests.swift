import ControlProtocol
import ControlTestSupport
import ExpertPlacement
import Logging
import Synchronization
import Testing
import WorkerRuntime

/// A coordinator whose state the test decides.
private final class FakeCoordinator: Sendable {
    struct Away: Error {}

    struct State {
        var isAway = false
        var refusesEven = false
        /// Whether registration is refused.
        var refusesConnections = false
        var isOver = false
        /// Reports that fail when they arrive, with the connection.
        var failures = 0
        /// Reports that find no room, over a connection that stays.
        var shed = 0
        var received = [Int]()
        var frames = 0
        var connections = 0
        var attempts = 0
        /// Tests that wait for so many attempts to connect.
        var waiting: (attempts: Int, continuation: CheckedContinuation<Void, Never>)?
    }
    let state = Mutex(State())

    struct Channel: ReportChannel {
        let coordinator: FakeCoordinator

        func send(_ reports: [Reports.Item]) async throws {
            try coordinator.state.withLock { state in
                if state.isAway { throw Away() }
                if state.isOver { throw IncarnationOver(description: "started again") }
                if state.failures > 0 {
                    state.failures -= 1
                    throw Away()
                }
                if state.shed > 0 {
                    state.shed -= 1
                    throw CoordinatorBusy(description: "no room")
                }
                let sequences = reports.map(\.sequence)
                if state.refusesEven, sequences.contains(where: { $0 % 2 == 0 }) {
                    throw ReportRefused(description: "even")
                }
                state.received += sequences
                state.frames += 1
            }
        }
        func close() async {}
    }

    func connect() async throws -> any ReportChannel {
        let (failure, waiting) = state.withLock { state -> ((any Error)?, CheckedContinuation<Void, Never>?) in
            state.attempts += 1
            var failure: (any Error)?
            if state.isAway {
                failure = Away()
            } else if state.refusesConnections {
                failure = ReportRefused(description: "unknown run")
            } else {
                state.connections += 1
            }
            guard let waiting = state.waiting, state.attempts >= waiting.attempts else { return (failure, nil) }
            state.waiting = nil
            return (failure, waiting.continuation)
        }
        waiting?.resume()
        // As over a network: others go on meanwhile, even beside one that never pauses.
        await Task.yield()
        if let failure { throw failure }
        return Channel(coordinator: self)
    }

    /// Returns when there were `count` attempts to connect.
    func attempted(_ count: Int) async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                if state.attempts >= count { return true }
                state.waiting = (count, continuation)
                return false
            }
            if isOver { continuation.resume() }
        }
    }

    func reporter(
        capacity: Int = 16, backOff: BackOff = BackOff(first: .milliseconds(1), longest: .milliseconds(4)),
        logger: Logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    ) -> Reporter {
        Reporter(capacity: capacity, backOff: backOff, logger: logger, connect: connect)
    }
}

extension Reporter {
    /// `finish`, off the cooperative pool. Long enough for a busy machine unless said otherwise.
    fileprivate func end(within limit: Duration = .seconds(60)) async throws -> Statistics {
        try await onOwnThread { self.finish(within: limit) }
    }
}

@Suite struct ReporterTests {
    private let sample = PerformanceSample(
        firstStep: 1, stepCount: 1, planRevision: 1, stepSeconds: 1, phaseSeconds: [:], bytesSent: 0, tokens: 1,
        residentBytes: 1)

    @Test func deliversInOrderOverOneConnection() async throws {
        let coordinator = FakeCoordinator()
        let reporter = coordinator.reporter()
        for _ in 0..<10 { reporter.submit(sample) }
        let statistics = try await reporter.end()
        #expect((statistics.submitted, statistics.delivered, statistics.dropped) == (10, 10, 0))
        coordinator.state.withLock {
            #expect($0.received == Array(1...10))
            #expect($0.connections == 1)
        }
    }

    @Test func connectsAgainAfterFailures() async throws {
        let coordinator = FakeCoordinator()
        coordinator.state.withLock { $0.failures = 3 }
        let reporter = coordinator.reporter()
        for _ in 0..<5 { reporter.submit(sample) }
        let statistics = try await reporter.end()
        #expect(statistics.delivered == 5)
        coordinator.state.withLock {
            #expect($0.received == Array(1...5))
            #expect($0.connections == 4)
        }
    }

    /// What waited while the coordinator was away goes in few frames.
    @Test func reportsThatWaitedGoTogether() async throws {
        let coordinator = FakeCoordinator()
        coordinator.state.withLock { $0.isAway = true }
        let reporter = coordinator.reporter(capacity: 100)
        for _ in 0..<100 { reporter.submit(sample) }
        coordinator.state.withLock { $0.isAway = false }
        let statistics = try await reporter.end()
        #expect(statistics.delivered == 100)
        coordinator.state.withLock {
            #expect($0.received == Array(1...100))
            #expect($0.frames == 2)
        }
    }

    /// Connecting and registering anew is more work for a coordinator that has too much of it already.
    @Test func aBusyCoordinatorIsAskedAgainOverTheSameConnection() async throws {
        let coordinator = FakeCoordinator()
        coordinator.state.withLock { $0.shed = 3 }
        let reporter = coordinator.reporter()
        for _ in 0..<5 { reporter.submit(sample) }
        let statistics = try await reporter.end()
        #expect(statistics.delivered == 5)
        coordinator.state.withLock {
            #expect($0.received == Array(1...5))
            #expect($0.connections == 1)
        }
    }

    /// A coordinator that has too many connections says so without a request id, and is through with the connection.
    @Test func aRefusedConnectionIsReplaced() async throws {
        let worker = WorkerIdentity(run: "tiny", incarnation: 1, rank: 1)
        let server = try ScriptedServer(connections: 2) { connection in
            let registered = WorkerRegistered(run: "tiny", incarnation: 1, rank: 1)
            try connection.answer(registered, id: connection.receiveID())
            let id = try connection.receiveID()
            if connection.number == 0 {
                try connection.answer(ErrorReply(ControlError(.overloaded, "too many connections")), id: nil)
            } else {
                try connection.answer(Acknowledged(sequence: 1), id: id)
            }
            _ = try? connection.receiveID()
        }
        let access = try CoordinatorAccess("127.0.0.1:\(server.port)", keyFile: nil)
        let log = CollectedLog()
        let reporter = Reporter(
            capacity: 4, backOff: BackOff(first: .milliseconds(1), longest: .milliseconds(4)), logger: log.logger
        ) { try await CoordinatorChannel.connect(to: access, as: worker) }
        reporter.submit(sample)
        let statistics = try await reporter.end()
        #expect((statistics.submitted, statistics.delivered, statistics.dropped) == (1, 1, 0))
        #expect(
            log.lines == [
                "warning reports wait, the training goes on: too many connections",
                "notice the coordinator takes reports again",
            ])
    }

    /// What does not answer the report refuses nothing: it is sent again, over another connection.
    @Test(arguments: HostileAnswer.allCases)
    func onlyAnswersRefuse(answer: HostileAnswer) async throws {
        let worker = WorkerIdentity(run: "tiny", incarnation: 1, rank: 1)
        let server = try ScriptedServer { connection in
            let registered = WorkerRegistered(run: "tiny", incarnation: 1, rank: 1)
            try connection.answer(registered, id: connection.receiveID())
            try answer.send(over: connection, id: connection.receiveID())
            _ = try? connection.receiveID()
        }
        let access = try CoordinatorAccess("127.0.0.1:\(server.port)", keyFile: nil)
        let channel = try await CoordinatorChannel.connect(to: access, as: worker)
        let error = await #expect(throws: (any Error).self) {
            try await channel.send([Reports.Item(sequence: 1, sample: sample)])
        }
        #expect((error is ReportRefused) == answer.isRefusal, "\(String(describing: error))")
        #expect((error is ControlError) == !answer.isRefusal)
        await channel.close()
    }

    @Test func dropsTheOldestWhileTheCoordinatorIsAway() async throws {
        let coordinator = FakeCoordinator()
        coordinator.state.withLock { $0.isAway = true }
        let reporter = coordinator.reporter(capacity: 4)
        for _ in 0..<20 { reporter.submit(sample) }
        await coordinator.attempted(3)
        for _ in 0..<20 { reporter.submit(sample) }
        coordinator.state.withLock { $0.isAway = false }
        let statistics = try await reporter.end()
        #expect(statistics.submitted == 40)
        coordinator.state.withLock {
            #expect($0.received.count == statistics.delivered)
            #expect($0.received == $0.received.sorted())
            #expect($0.received.last == 40)
            #expect(statistics.dropped == 40 - $0.received.count)
            // No more than the queue and the one on its way.
            #expect($0.received.count <= 5)
        }
    }

    @Test func endIsBoundedWhenNobodyListens() async throws {
        let coordinator = FakeCoordinator()
        coordinator.state.withLock { $0.isAway = true }
        let reporter = coordinator.reporter()
        for _ in 0..<3 { reporter.submit(sample) }
        let statistics = try await reporter.end(within: .milliseconds(50))
        #expect((statistics.submitted, statistics.delivered, statistics.dropped) == (3, 0, 3))
    }

    @Test func endIsBoundedWhenAConnectionHangs() async throws {
        let reporter = Reporter(capacity: 4, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }) {
            try await Task.sleep(for: .seconds(3600))
            throw FakeCoordinator.Away()
        }
        for _ in 0..<9 { reporter.submit(sample) }
        let statistics = try await reporter.end(within: .milliseconds(50))
        #expect(statistics.dropped == 9)
    }

    @Test func refusedReportsAreDroppedAndOthersGoOn() async throws {
        let coordinator = FakeCoordinator()
        coordinator.state.withLock { $0.refusesEven = true }
        let reporter = coordinator.reporter()
        for _ in 0..<6 { reporter.submit(sample) }
        let statistics = try await reporter.end()
        #expect((statistics.delivered, statistics.dropped) == (3, 3))
        coordinator.state.withLock { #expect($0.received == [1, 3, 5]) }
    }

    /// As by a coordinator whose database was replaced, which does not know the run: of every rank, and however often.
    @Test func aRefusedRegistrationIsTriedAgainOnlyAfterAPause() async throws {
        let coordinator = FakeCoordinator()
        coordinator.state.withLock { $0.refusesConnections = true }
        let reporter = coordinator.reporter(backOff: BackOff(first: .seconds(3600), longest: .seconds(3600)))
        for _ in 0..<3 { reporter.submit(sample) }
        await coordinator.attempted(1)
        let statistics = try await reporter.end(within: .milliseconds(50))
        #expect((statistics.submitted, statistics.delivered, statistics.dropped) == (3, 0, 3))
        // The end cuts the pause short, once.
        coordinator.state.withLock { #expect($0.attempts <= 2) }
    }

    @Test func reportsWaitWhileRegistrationIsRefused() async throws {
        let coordinator = FakeCoordinator()
        coordinator.state.withLock { $0.refusesConnections = true }
        let log = CollectedLog()
        let reporter = coordinator.reporter(logger: log.logger)
        for _ in 0..<5 { reporter.submit(sample) }
        await coordinator.attempted(4)
        coordinator.state.withLock { $0.refusesConnections = false }
        let statistics = try await reporter.end()
        #expect((statistics.delivered, statistics.dropped) == (5, 0))
        coordinator.state.withLock {
            #expect($0.received == Array(1...5))
            #expect($0.connections == 1)
        }
        #expect(
            log.lines == [
                "warning reports wait, the training goes on: unknown run",
                "notice the coordinator takes reports again",
            ])
    }

    /// A coordinator that is away may come back with keys that this job does not have.
    @Test func eachReasonIsToldOnce() async throws {
        let coordinator = FakeCoordinator()
        coordinator.state.withLock { $0.isAway = true }
        let log = CollectedLog()
        let reporter = coordinator.reporter(logger: log.logger)
        reporter.submit(sample)
        await coordinator.attempted(3)
        let attempts = coordinator.state.withLock { state in
            (state.isAway, state.refusesConnections) = (false, true)
            return state.attempts
        }
        await coordinator.attempted(attempts + 2)
        coordinator.state.withLock { $0.refusesConnections = false }
        #expect(try await reporter.end().delivered == 1)
        #expect(
            log.lines == [
                "warning reports wait, the training goes on: Away()",
                "warning reports wait, the training goes on: unknown run",
                "notice the coordinator takes reports again",
            ])
    }

    @Test func endOfTheIncarnationIsNoticed() async throws {
        let coordinator = FakeCoordinator()
        let reporter = coordinator.reporter()
        #expect(!reporter.isSuperseded)
        coordinator.state.withLock { $0.isOver = true }
        for _ in 0..<3 { reporter.submit(sample) }
        let statistics = try await reporter.end()
        #expect(reporter.isSuperseded)
        #expect((statistics.delivered, statistics.dropped) == (0, 3))
    }

    @Test func backOffDoublesUpToALimit() {
        let backOff = BackOff(first: .milliseconds(100), longest: .seconds(1))
        let pauses = (1...6).map { backOff.pause(afterFailures: $0) }
        #expect(pauses == [100, 200, 400, 800, 1000, 1000].map { .milliseconds($0) })
        #expect(backOff.pause(afterFailures: .max) == .seconds(1))
    }
}
