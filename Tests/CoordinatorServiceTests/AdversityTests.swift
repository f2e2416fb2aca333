import ControlProtocol
import ControlTestSupport
import CoordinatorService
import Foundation
import GRDB
import Synchronization
import TestSupport
import Testing

/// What clients and the machine do to a coordinator: it neither crashes nor loses what it acknowledged, and is itself again
/// afterwards without being started anew.
@Suite(.serialized) struct AdversityTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    private func serve(_ more: String...) -> [String] {
        ["serve", "--database", folder.path("moe.db"), "--listen", "127.0.0.1:0"] + more
    }

    /// Slow-loris: many clients that send a byte now and then. Others are served meanwhile, and the slow ones ended.
    @Test func manySlowClientsHoldUpNobody() async throws {
        var limits = Limits()
        limits.transferTime = .milliseconds(500)
        try await LiveCoordinator.run(limits: limits) { coordinator in
            let port = coordinator.port
            try await blocking {
                // Each begins a frame of 65,536 bytes.
                let slow = try (0..<200).map { _ in try PlainClient(port: port) }
                for client in slow { try client.send(Data([0, 1, 0, 0])) }
                try ReportingClient.register(port: port)
                var honest = try ReportingClient(port: port)
                var open = Set(slow.indices)
                try eventually("the slow clients are ended") {
                    for index in open {
                        do { try slow[index].send(Data([0])) } catch { open.remove(index) }
                    }
                    try honest.report()
                    return open.isEmpty
                }
                #expect(try ReportingClient.stored(port: port) == honest.acknowledged)
            }
        }
    }

    /// Clients that report and never read what comes back. What is stored is whole, and others notice nothing.
    @Test func clientsThatNeverReadHoldUpNobody() async throws {
        var limits = Limits()
        limits.transferTime = .milliseconds(500)
        try await LiveCoordinator.run(limits: limits) { coordinator in
            let port = coordinator.port
            try await blocking {
                let layer = JSONValue.array([JSONValue](repeating: 16, count: 256))
                try ReportingClient.register(ranks: 2, layers: [layer, layer], port: port)
                let deaf = try (0..<4).map { _ in try ReportingClient(port: port, rank: 1) }
                // Large answers fill the buffers soon.
                let question = try PlainClient.frame(PlainClient(port: port).request("show_placement").data)
                let many = (0..<2_000).reduce(into: Data()) { data, _ in data += question }
                let ends = try deaf.enumerated().map { index, client in
                    try client.send(index + 1)
                    let sender = Sending(client.client, many)
                    Thread.detachNewThread(sender.run)
                    return sender
                }
                var honest = try ReportingClient(port: port)
                try eventually("no deaf client can send any more") {
                    try honest.report()
                    return ends.allSatisfy { $0.end != nil }
                }
                #expect(ends.allSatisfy { $0.end?.isTimeout == false })
                #expect(try ReportingClient.stored(port: port) == honest.acknowledged + deaf.count)
                try eventually("the deaf clients count no more") { coordinator.server.connectionCount <= 1 }
                withExtendedLifetime(deaf) {}
            }
        }
    }

    /// Sends the same until that fails.
    private final class Sending: Sendable {
        nonisolated(unsafe) private let client: PlainClient  // used by one thread alone
        private let data: Data
        private let state = Mutex<PlainClient.Failed?>(nil)

        init(_ client: PlainClient, _ data: Data) {
            self.client = client
            self.data = data
        }

        /// Why it could not send any more; nil: it still can.
        var end: PlainClient.Failed? { state.withLock { $0 } }

        func run() {
            do {
                while true { try client.send(data) }
            } catch {
                state.withLock { $0 = error as? PlainClient.Failed }
            }
        }
    }

    /// 10,000 connections come and go at once: closed, reset, within a frame, with an answer under way.
    @Test func tenThousandConnectionsOpenedAndDropped() async throws {
        let program = try CoordinatorProgram(serve("--http", "none"))
        let port = program.port
        let descriptors = {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/\(program.process.processIdentifier)/fd").count
        }
        let seed = TestRuns.seed()
        try await blocking { try ReportingClient.register(port: port) }
        let (openBefore, memoryBefore) = try (descriptors(), program.residentBytes)
        let stop = Mutex(false)
        async let reported = blocking {
            var honest = try ReportingClient(port: port)
            while !stop.withLock({ $0 }) { try honest.report() }
            return honest.acknowledged
        }
        do {
            // Whatever happens: it would be waited for.
            defer { stop.withLock { $0 = true } }
            try await withThrowingDiscardingTaskGroup { group in
                for part in 0..<4 {
                    group.addTask {
                        try await blocking {
                            var random = SeededGenerator(seed: seed &+ UInt64(part))
                            for _ in 0..<2_500 { try Self.openAndDrop(port: port, &random) }
                        }
                    }
                }
            }
        }
        let acknowledged = try await reported
        #expect(acknowledged > 0)
        #expect(try await blocking { try ReportingClient.stored(port: port) } == acknowledged)
        // It closes what is left in its own time.
        try await eventually("the coordinator closes what clients closed") { () async throws in
            try descriptors() <= openBefore + 1
        }
        let growth = try program.residentBytes - memoryBefore
        print("10,000 connections: \(acknowledged) reports meanwhile, \(growth) bytes more resident")
        #expect(growth < 64 << 20)
        #expect(program.end(SIGTERM).status == 0)
    }

    private static func openAndDrop(port: UInt16, _ random: inout SeededGenerator) throws {
        let client = try PlainClient(port: port)
        let frame = try PlainClient.frame(client.request("show_run").data)
        // May fail: the coordinator may have refused the connection already.
        try? client.send(frame.prefix(Int.random(in: 0...frame.count, using: &random)))
        // Mostly without the wait that ports of closed connections have (TIME_WAIT), of which there are not enough.
        guard Int.random(in: 0..<10, using: &random) > 0 else { return }
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(client.descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    }

    /// With 64 descriptors it keeps fewer connections, and refuses more with a reason.
    @Test func fewDescriptorsMeanFewConnections() async throws {
        let program = try CoordinatorProgram(
            serve("--http", "127.0.0.1:0"), launcher: ["/usr/bin/prlimit", "--nofile=64"])
        let (port, httpPort) = (program.port, program.httpPort)
        try await blocking {
            try ReportingClient.register(port: port)
            var honest = try ReportingClient(port: port)
            for _ in 0..<3 {
                var crowd = try (0..<100).map { _ in try PlainClient(port: port) }
                let answers = crowd.map { try? $0.ask("list_runs") }
                #expect(answers.contains { $0?["type"] == "runs" })
                #expect(answers.contains { $0?["code"] == "overloaded" })
                try honest.report()
                // Whether it can take more is told on connections of their own. Some of this crowd may have been refused for those of
                // the one before, which were about to go: others take their places.
                try eventually("there are too many connections") {
                    let health = try HTTPQuestion("/readyz", port: httpPort).body
                    if health.contains("[-]listener failed: there are") { return true }
                    crowd.append(try PlainClient(port: port))
                    _ = try? crowd[crowd.count - 1].ask("list_runs")
                    return false
                }
                withExtendedLifetime(crowd) {}
            }
            try eventually("there is room again") { try HTTPQuestion("/readyz", port: httpPort).status == 200 }
            #expect(try ReportingClient.stored(port: port) == honest.acknowledged)
        }
        #expect(program.end(SIGTERM).status == 0)
    }

    /// Descriptors run out, and come back.
    @Test func acceptingGoesOnWhenThereAreDescriptorsAgain() async throws {
        let program = try CoordinatorProgram(serve("--http", "none"))
        let port = program.port
        let process = program.process.processIdentifier
        try await blocking {
            try ReportingClient.register(port: port)
            var honest = try ReportingClient(port: port)
            try honest.report()
            try Self.limitDescriptors(of: process, to: 3)
            // The kernel takes the connection; the coordinator cannot.
            let waiting = try PlainClient(port: port)
            try waiting.send(PlainClient.frame(waiting.request("list_runs").data))
            for _ in 0..<5 { try honest.report() }
            try Self.limitDescriptors(of: process, to: nil)
            #expect(try waiting.receive()["type"] == "runs")
            #expect(try ReportingClient.stored(port: port) == 6)
        }
        #expect(program.end(SIGTERM).status == 0)
    }

    private static func limitDescriptors(of process: pid_t, to limit: Int?) throws {
        let tool = Process()
        tool.executableURL = URL(fileURLWithPath: "/usr/bin/prlimit")
        // The soft limit; without a number as high as the hard one.
        let hard = try String(contentsOfFile: "/proc/\(process)/limits", encoding: .utf8).split(separator: "\n")
            .first { $0.hasPrefix("Max open files") }?.split(separator: " ").dropLast().last
        tool.arguments = ["--pid", "\(process)", "--nofile=\(limit.map(String.init) ?? String(hard ?? "1024")):"]
        try tool.run()
        tool.waitUntilExit()
        #expect(tool.terminationStatus == 0)
    }

    /// Nothing depends on what time it is.
    @Test func aClockThatIsSetBack() async throws {
        let offset = Mutex(Int64(0))
        let now: @Sendable () -> Timestamp = {
            Timestamp(milliseconds: Timestamp.now().milliseconds + offset.withLock { $0 })
        }
        try await LiveCoordinator.run(now: now) { coordinator in
            let client = try await coordinator.client()
            _ = try await client.send(Samples.registerRun())
            _ = try await client.send(Samples.registerWorker())
            for sequence in 1...10 { _ = try await client.send(Samples.report(sequence: sequence)) }
            offset.withLock { $0 = -3_600_000 }
            for sequence in 11...20 {
                #expect(try await client.send(Samples.report(sequence: sequence)).sequence == sequence)
            }
            // A repeated one is still known.
            #expect(try await client.send(Samples.report(sequence: 5)).sequence == 5)
            let shown = try await client.send(ShowRun())
            #expect(shown.storedReports == 20)
            _ = try await client.send(Samples.registerRun(registration: "again"))
            #expect(try await client.send(ShowRun()).summary.incarnation == 2)
            // The newest run is the one that was registered last.
            _ = try await client.send(Samples.registerRun("later"))
            #expect(try await client.send(ShowRun()).summary.run == "later")
            #expect(try await client.send(ListRuns()).runs.first?.run == "later")
            _ = try await client.send(Samples.finishRun("later"))
            offset.withLock { $0 = 0 }
            #expect(try await client.send(ShowRun()).summary.state == .completed)
        }
    }

    /// Stopped for a while with requests under way, it answers them all when it goes on.
    @Test func aProcessThatStandsStill() async throws {
        let program = try CoordinatorProgram(serve("--http", "none"))
        let port = program.port
        let process = program.process.processIdentifier
        try await blocking {
            try ReportingClient.register(ranks: 8, port: port)
            var clients = try (0..<8).map { try ReportingClient(port: port, rank: $0, timeout: 90) }
            for index in clients.indices { try clients[index].report() }
            kill(process, SIGSTOP)
            for index in clients.indices { for sequence in 2...11 { try clients[index].send(sequence) } }
            // The kernel takes connections for it.
            let late = try PlainClient(port: port, timeout: 90)
            try late.send(PlainClient.frame(late.request("list_runs").data))
            sleep(TestRuns.isSoak ? 30 : 2)
            kill(process, SIGCONT)
            for index in clients.indices {
                for _ in 2...11 { try clients[index].receive() }
                #expect(clients[index].acknowledged == 11)
            }
            #expect(try late.receive()["type"] == "runs")
            #expect(try ReportingClient.stored(port: port) == 88)
        }
        #expect(program.end(SIGTERM).status == 0)
    }
}
