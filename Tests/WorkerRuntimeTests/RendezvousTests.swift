import ControlProtocol
import CoordinatorService
import FlyingSocks
import Foundation
import Logging
import Synchronization
import Testing
import WorkerRuntime

/// Ranks that find each other at a coordinator, as threads of this process, without MPI.
@Suite struct RendezvousTests {
    private let fixture: TrainingFixture

    init() throws { fixture = try TrainingFixture() }

    /// What a rank came to.
    private enum Outcome {
        case met(RankWatch)
        case failed(String, WorkerError.Code?)

        var failure: String? { if case .failed(let text, _) = self { text } else { nil } }
        var watch: RankWatch? { if case .met(let watch) = self { watch } else { nil } }
        var code: WorkerError.Code? { if case .failed(_, let code) = self { code } else { nil } }
    }

    /// Why ranks ended.
    private final class Ends: Sendable {
        private let lines = Mutex<[Int: [String]]>([:])
        private let hasEnded = DispatchSemaphore(value: 0)

        func add(_ line: String, rank: Int) {
            lines.withLock { $0[rank, default: []].append(line) }
            hasEnded.signal()
        }

        /// After `count` ends.
        func wait(_ count: Int) -> [Int: [String]] {
            for _ in 0..<count { _ = hasEnded.wait(timeout: .now() + 30) }
            return lines.withLock(\.self)
        }
    }

    private static let quick: Limits = {
        var limits = Limits()
        limits.worldWaitTime = .milliseconds(200)
        limits.worldAssemblyTime = .milliseconds(500)
        return limits
    }()

    private func withCoordinator(
        keys: AcceptedKeys = AcceptedKeys(), limits: Limits = quick, _ body: @Sendable (Endpoint) async throws -> Void
    ) async throws {
        let store = try CoordinatorStore(path: fixture.path("moe-\(UUID().uuidString).db"))
        let listener = try await Listener(Endpoint("127.0.0.1:0"), keys: keys)
        let server = CoordinatorServer(
            store: store, listener: listener, limits: limits,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            defer { server.stop() }
            try await body(listener.endpoint)
        }
        try store.close()
    }

    private func meet(
        _ rank: Int, of worldSize: Int, at coordinator: Endpoint, ends: Ends = Ends(), limits: Limits = quick,
        _ change: @Sendable (inout RendezvousOptions) -> Void = { _ in }
    ) async -> Outcome {
        var options = RendezvousOptions(
            rank: rank, worldSize: worldSize, run: "tiny", coordinator: "\(coordinator)", keyFile: nil)
        options.timeoutSeconds = 30
        change(&options)
        let final = options
        do {
            return .met(
                try await onOwnThread {
                    try Rendezvous.meet(
                        final, limits: limits, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
                        end: { ends.add($0, rank: rank) })
                })
        } catch {
            return .failed("\(error)", (error as? WorkerError)?.code)
        }
    }

    @Test(arguments: [false, true]) func ranksMeetAndPart(underKey: Bool) async throws {
        let key = fixture.path("job.key")
        try ControlKey.generate(file: key)
        let keyFile = underKey ? key : nil
        let keys = try AcceptedKeys(files: keyFile.map { [$0] } ?? [])
        try await withCoordinator(keys: keys) { coordinator in
            let ends = Ends()
            let watches = await withTaskGroup(of: Outcome.self) { group in
                for rank in (0..<4).shuffled() {
                    group.addTask {
                        await meet(rank, of: 4, at: coordinator, ends: ends) {
                            $0.keyFile = keyFile
                            $0.host = "127.0.0.1"
                            $0.silenceSeconds = 1
                        }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            for outcome in watches { #expect(outcome.failure == nil) }
            let met = watches.compactMap(\.watch)
            // Longer than the silence that is allowed: they do tell each other that they live.
            try await Task.sleep(for: .seconds(1.5))
            try await onOwnThread { for watch in met { watch.leave() } }
            #expect(ends.wait(0).isEmpty)
        }
    }

    @Test func oneRanksFailureIsToldToAll() async throws {
        try await withCoordinator { coordinator in
            let ends = Ends()
            async let first = meet(0, of: 3, at: coordinator, ends: ends)
            async let second = meet(1, of: 3, at: coordinator, ends: ends)
            async let third = meet(2, of: 3, at: coordinator, ends: ends)
            let watches = await [first, second, third].compactMap(\.watch)
            try #require(watches.count == 3)
            #expect(try await onOwnThread { watches[1].fail("out of\nluck") })
            let lines = try await onOwnThread { ends.wait(2) }
            #expect(lines == [0: ["out of luck"], 2: ["out of luck"]])
        }
    }

    @Test func whoIsMissingIsNamed() async throws {
        try await withCoordinator { coordinator in
            let outcome = await meet(1, of: 4, at: coordinator) { $0.timeoutSeconds = 1 }
            #expect(outcome.code == .coordinatorUnreachable)
            #expect(outcome.failure?.contains("ranks 0, 2 and 3 did not come") == true, "\(outcome)")
        }
    }

    @Test func twoProcessesWithOneRank() async throws {
        try await withCoordinator { coordinator in
            await withTaskGroup(of: (rank: Int, outcome: Outcome).self) { group in
                for _ in 0..<2 { group.addTask { (1, await meet(1, of: 2, at: coordinator)) } }
                // The one that came first.
                let refused = await group.next()?.outcome
                #expect(refused?.code == .refused)
                #expect(refused?.failure?.contains("another process has come as rank 1 of run tiny") == true)
                group.addTask { (0, await meet(0, of: 2, at: coordinator)) }
                for await (_, outcome) in group { #expect(outcome.failure == nil) }
            }
        }
    }

    @Test func anotherWorldSizeIsRefused() async throws {
        try await withCoordinator { coordinator in
            async let waiting = meet(0, of: 2, at: coordinator) { $0.timeoutSeconds = 2 }
            async let other = meet(1, of: 3, at: coordinator) { $0.timeoutSeconds = 2 }
            let outcomes = await [waiting, other]
            #expect(outcomes.map(\.code).contains(.refused))
            #expect(
                outcomes.compactMap(\.failure).contains {
                    $0.contains("--world-size 3, but") || $0.contains("--world-size 2, but")
                })
        }
    }

    /// Rank 0 names an address at which nobody answers.
    @Test func rankZeroThatCannotBeReached() async throws {
        try await withCoordinator { coordinator in
            async let first = meet(0, of: 2, at: coordinator) {
                $0.timeoutSeconds = 3
                // Reserved for documents (RFC 2606).
                $0.host = "nowhere.invalid"
            }
            async let second = meet(1, of: 2, at: coordinator) { $0.timeoutSeconds = 3 }
            let outcomes = await [first, second]
            for outcome in outcomes {
                #expect(outcome.code == .coordinatorUnreachable)
                #expect(outcome.failure?.contains("nowhere.invalid") == true, "\(outcome)")
                #expect(outcome.failure?.contains("--rank-host") == true, "\(outcome)")
            }
        }
    }

    /// Programs that are no rank of the world get nothing from rank 0, however many they are, and rank 1 is let in all the same.
    @Test func strangersAtRankZero() async throws {
        var limits = Self.quick
        limits.worldAssemblyTime = .seconds(20)
        limits.strangersAtRankZero = 0
        let (final, tooLong) = (limits, String(repeating: "a", count: limits.rankMessageBytes + 1))
        try await withCoordinator { coordinator in
            // The test is rank 1.
            let client = try await ControlClient.connect(to: coordinator)
            defer { client.close() }
            let outcome = Task { await meet(0, of: 2, at: coordinator, limits: final) }
            let request = JoinWorld(run: "tiny", worldSize: 2, rank: 1, host: "here", processID: 1)
            var answer = try await client.send(request)
            while answer.address == nil { answer = try await client.send(request) }
            let address = try Endpoint(#require(answer.address))
            let world = try #require(answer.world)

            func connect(saying text: String? = nil) async throws -> SecureStream {
                let stream = try await SocketConnector.connect(to: address, key: nil, timeout: .seconds(5))
                if let text { try await stream.write(Frame.encode(Data(text.utf8))) }
                return stream
            }
            func expectEnd(_ stream: SecureStream) async {
                await #expect(throws: (any Error).self) { while true { _ = try await stream.read() } }
                stream.close()
            }
            func hello(_ world: String, rank: Int) -> String {
                #"{"hello":{"world":"\#(world)","rank":\#(rank),"host":"here","processID":1}}"#
            }
            for text in ["", "GET / HTTP/1.0", tooLong, hello("other", rank: 1), hello(world, rank: 2)] {
                try await expectEnd(connect(saying: text))
            }
            // As many as may be there in silence, and one more.
            let silent = [try await connect(), try await connect()]
            try await expectEnd(connect())
            for stream in silent { stream.close() }

            // Rank 0 may not have noticed yet that they are gone.
            var text = ""
            while !text.contains("begin") {
                let stream = try await connect(saying: hello(world, rank: 1))
                do {
                    while !text.contains("begin") { text += String(decoding: try await stream.read(), as: UTF8.self) }
                    let watch = try #require(await outcome.value.watch)
                    try await onOwnThread { watch.leave() }
                    while !text.contains("goodbye") { text += String(decoding: try await stream.read(), as: UTF8.self) }
                } catch SocketError.disconnected {}
                stream.close()
            }
            #expect(text.contains("goodbye"))
        }
    }

    /// The end of a connection whose request waits is noticed, long before the request's time is over.
    @Test(.timeLimit(.minutes(1))) func whoHangsUpWaitsNoLonger() async throws {
        var limits = Limits()
        limits.worldWaitTime = .seconds(600)
        try await withCoordinator(limits: limits) { coordinator in
            func join(_ rank: Int) -> JoinWorld {
                JoinWorld(run: "tiny", worldSize: 2, rank: rank, host: "here", processID: 1)
            }
            let gone = try await ControlClient.connect(to: coordinator)
            let waiting = Task { try await gone.send(join(1)) }
            let client = try await ControlClient.connect(to: coordinator)
            defer { client.close() }
            #expect(try await client.send(join(0)).world != nil)
            gone.close()
            await #expect(throws: ControlError.self) { try await waiting.value }
            // The world is answered as long as both are there.
            while (try? await client.send(join(0), timeout: .seconds(1))) != nil {}
        }
    }

    @Test func coordinatorThatIsAway() async throws {
        let outcome = await meet(0, of: 2, at: try Endpoint("127.0.0.1:9")) { $0.timeoutSeconds = 0.5 }
        #expect(outcome.code == .coordinatorUnreachable)
        #expect(outcome.failure?.contains("127.0.0.1:9") == true, "\(outcome)")
    }

    @Test func coordinatorThatComesLate() async throws {
        let file = fixture.path("address")
        let outcome = Task {
            await withTaskGroup(of: Outcome.self) { group in
                for rank in 0..<2 {
                    group.addTask {
                        await meet(rank, of: 2, at: Endpoint(host: "unused", port: 1)) {
                            $0.coordinator = "file:\(file)"
                        }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
        }
        try await withCoordinator { coordinator in
            try AddressFile.write(coordinator, to: file)
            for outcome in await outcome.value { #expect(outcome.failure == nil) }
        }
    }
}
