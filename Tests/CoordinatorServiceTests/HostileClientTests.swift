import ControlProtocol
import ControlTestSupport
import CoordinatorService
import ExpertPlacement
import Foundation
import GRDB
import TestSupport
import Testing

/// Clients that do not behave, and what the others notice of them: nothing.
struct HostileClientTests {
    @Test func frameOverTheLimitIsRefusedAtItsLength() async throws {
        try await LiveCoordinator.run { coordinator in
            let port = coordinator.port
            try await blocking {
                let client = try PlainClient(port: port)
                try client.send(Data([255, 255, 255, 255]))
                let answer = try client.receive()
                #expect(answer["code"] == "limit_exceeded")
                #expect(answer["request_id"] == nil)
                #expect(throws: PlainClient.Closed.self) { try client.receive(1) }
            }
            #expect(try await coordinator.client().send(ListRuns()).runs == [])
        }
    }

    @Test func aRefusedMessageLeavesTheConnectionUsable() async throws {
        try await LiveCoordinator.run { coordinator in
            let port = coordinator.port
            try await blocking {
                let client = try PlainClient(port: port)
                for payload in ["", "{", "[[[[", String(repeating: "[", count: 1 << 20), "\u{FFFD}", "{\"version\":1}"]
                {
                    try client.send(PlainClient.frame(Data(payload.utf8)))
                    #expect(try client.receive()["code"] == "bad_request")
                }
                #expect(try client.ask("nonsense")["code"] == "unknown_type")
                #expect(try client.ask("list_runs")["type"] == "runs")
            }
        }
    }

    @Test func requestsComeByteByByteAndTogether() async throws {
        try await LiveCoordinator.run { coordinator in
            let port = coordinator.port
            try await blocking {
                let client = try PlainClient(port: port)
                let frames = try (0..<3).map { _ in try PlainClient.frame(client.request("list_runs").data) }
                for byte in frames[0] { try client.send(Data([byte])) }
                #expect(try client.receive()["request_id"] == 1)
                try client.send(frames.reduce(Data(), +))
                for id in 1...3 { #expect(try client.receive()["request_id"] == .integer(id)) }
                for cut in 0...frames[1].count {
                    try client.send(frames[1].prefix(cut))
                    try client.send(frames[1].dropFirst(cut) + frames[2].prefix(cut))
                    #expect(try client.receive()["request_id"] == 2)
                    try client.send(frames[2].dropFirst(cut))
                    #expect(try client.receive()["request_id"] == 3)
                }
            }
        }
    }

    @Test func connectionsThatVanishWithinAFrame() async throws {
        try await LiveCoordinator.run { coordinator in
            let port = coordinator.port
            try await blocking {
                let frame = try PlainClient.frame(PlainClient(port: port).request("list_runs").data)
                for cut in 0..<frame.count { try PlainClient(port: port).send(frame.prefix(cut)) }
                #expect(try PlainClient(port: port).ask("list_runs")["type"] == "runs")
            }
        }
    }

    @Test func idleAndSlowClientsAreEnded() async throws {
        var limits = Limits()
        limits.idleTime = .milliseconds(200)
        limits.transferTime = .milliseconds(200)
        try await LiveCoordinator.run(limits: limits) { coordinator in
            let port = coordinator.port
            try await blocking {
                let idle = try PlainClient(port: port)
                #expect(throws: PlainClient.Closed.self) { try idle.receive(1) }
                // A byte now and then is not enough: the frame has to be whole in time, which here is over long before it could be.
                let slow = try PlainClient(port: port)
                #expect(throws: PlainClient.Failed.self) {
                    for byte in PlainClient.frame(Data(count: 1 << 20)).prefix(3_000) {
                        try slow.send(Data([byte]))
                        usleep(10_000)
                    }
                }
            }
        }
    }

    @Test func aClientThatNeverReadsBlocksNobodyAndIsEnded() async throws {
        var limits = Limits()
        limits.transferTime = .milliseconds(500)
        try await LiveCoordinator.run(limits: limits) { coordinator in
            let client = try await coordinator.client()
            _ = try await client.send(Samples.registerRun())
            let port = coordinator.port
            try await blocking {
                let deaf = try PlainClient(port: port)
                let frame = try PlainClient.frame(deaf.request("show_placement").data)
                let many = (0..<500).reduce(into: Data()) { data, _ in data += frame }
                // Until the server has ended the connection, whose buffers are full in both directions.
                let end = #expect(throws: PlainClient.Failed.self) { while true { try deaf.send(many) } }
                #expect(end?.isTimeout == false)
                try eventually("the deaf client counts no more") { coordinator.server.connectionCount == 1 }
                withExtendedLifetime(deaf) {}
            }
            #expect(try await client.send(ListRuns()).runs.count == 1)
        }
    }

    /// The client would have half a minute to take its answers.
    @Test func aClientThatNeverReadsHoldsUpNoEnd() async throws {
        var limits = Limits()
        limits.shutdownTime = .milliseconds(200)
        try await LiveCoordinator.run(limits: limits) { coordinator in
            // Its plan is long: a few answers fill all buffers.
            let layer = [Int](repeating: 8, count: 64)
            let model = ExpertModel(hiddenSize: 8, layers: [[Int]](repeating: layer, count: 64))
            _ = try await coordinator.client().send(Samples.registerRun(model: model))
            try await blocking {
                let deaf = try PlainClient(port: coordinator.port)
                let frame = try PlainClient.frame(deaf.request("show_placement").data)
                try deaf.send((0..<500).reduce(into: Data()) { data, _ in data += frame })
                var received = Int32(0)
                try eventually("no more comes") {
                    let before = received
                    sleep(1)
                    #expect(ioctl(deaf.descriptor, UInt(FIONREAD), &received) == 0)
                    return received > 0 && received == before
                }
                coordinator.server.stop()
                try eventually("the connection is ended", within: .seconds(15)) {
                    coordinator.server.connectionCount == 0
                }
                withExtendedLifetime(deaf) {}
            }
        }
    }

    /// Nobody accepts them. The kernel holds one more than it was told to (Linux, `sk_acceptq_is_full`).
    @Test func onlySoManyConnectionsWait() async throws {
        var limits = Limits()
        limits.pendingConnections = 3
        let listener = try await Listener(Endpoint(host: "127.0.0.1", port: 0), limits: limits)
        try await blocking {
            var clients = [PlainClient]()
            #expect(throws: PlainClient.Failed.self) {
                while clients.count < 20 { clients.append(try PlainClient(port: listener.endpoint.port, timeout: 1)) }
            }
            #expect(clients.count == 4)
        }
    }

    @Test func onlySoManyConnections() async throws {
        var limits = Limits()
        limits.connections = 3
        try await LiveCoordinator.run(limits: limits) { coordinator in
            let port = coordinator.port
            try await blocking {
                var clients = try (0..<3).map { _ in try PlainClient(port: port) }
                for client in clients { #expect(try client.ask("list_runs")["type"] == "runs") }
                let fourth = try PlainClient(port: port)
                #expect(try fourth.receive()["code"] == "overloaded")
                #expect(throws: PlainClient.Closed.self) { try fourth.receive(1) }
                clients.removeLast()
                // The server notices in its own time.
                try eventually("another client has the place of the one that went") {
                    let next = try PlainClient(port: port)
                    return (try? next.ask("list_runs"))?["type"] == "runs"
                }
            }
        }
    }

    @Test func onlySoManyBytesAreHeld() async throws {
        var limits = Limits()
        limits.bufferedBytes = 100_000
        try await LiveCoordinator.run(limits: limits) { coordinator in
            let port = coordinator.port
            try await blocking {
                let greedy = try PlainClient(port: port)
                try greedy.send(PlainClient.frame(Data(count: 200_000)))
                #expect(try greedy.receive()["code"] == "overloaded")
                #expect(throws: PlainClient.Closed.self) { try greedy.receive(1) }
                // What it held is free again.
                let client = try PlainClient(port: port)
                try client.send(PlainClient.frame(Data(count: 90_000)))
                #expect(try client.receive()["code"] == "bad_request")
                #expect(try client.ask("list_runs")["type"] == "runs")
            }
        }
    }

    /// Its plan is long.
    private static let longModel = ExpertModel(
        hiddenSize: 8, layers: [[Int]](repeating: [Int](repeating: 8, count: 64), count: 64))

    /// The connection goes on, and what is small, or within the limit, is answered.
    @Test func answersThatFindNoRoomAreRefused() async throws {
        let folder = try TemporaryFolder()
        let database = folder.path("moe.db")
        // The answer has the plan, too.
        try await LiveCoordinator.run(database: database) { coordinator in
            _ = try await coordinator.client().send(Samples.registerRun(model: Self.longModel))
        }
        var limits = Limits()
        limits.bufferedBytes = 400_000
        try await LiveCoordinator.run(limits: limits, database: database) { coordinator in
            let client = try await coordinator.client()
            for _ in 0..<3 {
                do {
                    _ = try await client.send(ShowPlacement())
                    Issue.record("there was room")
                } catch let error as ControlError {
                    #expect(error.code == .overloaded && error.message.contains("buffered bytes"), "\(error)")
                }
            }
            _ = try await client.send(Samples.registerWorker())
            #expect(try await client.send(Samples.report(sample: Samples.sample())).sequence == 1)
            for _ in 0..<100 { #expect(try await client.send(ShowPlacement(layer: 0)).plan.layers.count == 1) }
        }
        limits.smallAnswerBytes = 400_000
        try await LiveCoordinator.run(limits: limits, database: database) { coordinator in
            let placement = try await coordinator.client().send(ShowPlacement())
            #expect(placement.plan.layers.count == 64)
        }
    }

    /// There is room for one long answer, and a client that never reads has it until it goes; reports are taken all the same.
    @Test func answersAreCountedUntilTheyAreTaken() async throws {
        var limits = Limits()
        limits.bufferedBytes = 800_000
        limits.transferTime = .seconds(600)
        try await LiveCoordinator.run(limits: limits) { coordinator in
            let client = try await coordinator.client()
            _ = try await client.send(Samples.registerRun(model: Self.longModel))
            _ = try await client.send(Samples.registerWorker())
            let port = coordinator.port
            try await blocking {
                let other = try PlainClient(port: port)
                for _ in 0..<3 { #expect(try other.ask("show_placement")["type"] == "placement") }
                let deaf = try PlainClient(port: port)
                let frame = try PlainClient.frame(deaf.request("show_placement").data)
                try deaf.send((0..<500).reduce(into: Data()) { data, _ in data += frame })
                // Its buffers are full soon, and then one of its answers always waits.
                #expect(try (0..<2_000).contains { _ in try other.ask("show_placement")["code"] == "overloaded" })
                try other.send(MessageCodec.frame(Samples.report(sample: Samples.sample()), requestID: 1))
                #expect(try other.receive()["type"] == "acknowledged")
                withExtendedLifetime(deaf) {}
            }
            try await blocking {
                let other = try PlainClient(port: port)
                #expect(try (0..<10_000).contains { _ in try other.ask("show_placement")["type"] == "placement" })
            }
        }
    }

    /// The others wait in a line.
    @Test(.timeLimit(.minutes(1)))
    func onlySoManyAnswersAreMadeAtATime() async throws {
        var limits = Limits()
        limits.reads = 2
        try await LiveCoordinator.run(limits: limits) { coordinator in
            let (hold, release) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
            let holder = Task {
                try await coordinator.store.queue.read { _ in
                    hold.signal()
                    release.wait()
                }
            }
            try await blocking { hold.wait() }
            try await withThrowingDiscardingTaskGroup { group in
                for _ in 0..<5 {
                    group.addTask {
                        let answer = try await coordinator.client().send(ListRuns())
                        #expect(answer.runs == [])
                    }
                }
                // Whatever happens: otherwise they would wait for good.
                defer { release.signal() }
                try await eventually("three wait in the line") { () async in
                    coordinator.server.waitingReads >= 3
                }
            }
            try await holder.value
            #expect(coordinator.server.waitingReads == 0)
        }
    }

    @Test func manyClientsAtOnce() async throws {
        try await LiveCoordinator.run { coordinator in
            let registrar = try await coordinator.client()
            _ = try await registrar.send(Samples.registerRun(worldSize: 20))
            try await withThrowingDiscardingTaskGroup { group in
                for rank in 0..<20 {
                    group.addTask {
                        let client = try await coordinator.client()
                        _ = try await client.send(Samples.registerWorker(rank: rank))
                        for sequence in 1...25 {
                            let report = Samples.report(rank: rank, sequence: sequence, sample: Samples.sample())
                            #expect(try await client.send(report).sequence == sequence)
                        }
                    }
                }
            }
            #expect(try await registrar.send(ShowRun()).storedReports == 500)
        }
    }

    /// Descriptors are closed and given to other sockets all the time, on both sides; what waited for the old one must not end
    /// or hang the new one.
    @Test func connectionsComeAndGo() async throws {
        try await LiveCoordinator.run { coordinator in
            try await withThrowingDiscardingTaskGroup { group in
                for _ in 0..<16 {
                    group.addTask {
                        for _ in 0..<100 {
                            let client = try await coordinator.client()
                            #expect(try await client.send(ListRuns()).runs == [])
                            client.close()
                        }
                    }
                }
            }
        }
    }

    @Test func stoppingAnswersWhatWasAsked() async throws {
        try await LiveCoordinator.run { coordinator in
            let client = try await coordinator.client()
            _ = try await client.send(Samples.registerRun())
            _ = try await client.send(Samples.registerWorker())
            let answers = try await withThrowingTaskGroup { group in
                for sequence in 1...40 {
                    group.addTask { try? await client.send(Samples.report(sequence: sequence)).sequence }
                }
                let first = try await group.next()
                coordinator.server.stop()
                return try await group.reduce(into: [first ?? nil]) { $0.append($1) }.compactMap { $0 }
            }
            // Some were refused by the end of the connection; those acknowledged are stored.
            let stored = try await coordinator.store.queue.read { db in
                try Int.fetchAll(db, sql: "SELECT sequence FROM reports")
            }
            #expect(Set(answers).isSubset(of: Set(stored)))
            #expect(!answers.isEmpty)
        }
    }
}
