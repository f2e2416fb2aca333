import ControlProtocol
import ControlTestSupport
import CoordinatorService
import Foundation
import TestSupport
import Testing

/// Who sits between client and coordinator can end connections, and nothing else.
struct TamperingTests {
    private let keys: KeyFolder

    init() throws { keys = try KeyFolder() }

    /// One bit at each place in turn, on the way there and on the way back.
    @Test func everyChangedBitIsNoticed() async throws {
        let seed = TestRuns.seed()
        let key = try keys.key("key")
        try await LiveCoordinator.run(keys: keys.accepted(["key"])) { coordinator in
            var random = SeededGenerator(seed: seed)
            let direct = try await coordinator.client(key: key)
            let request = Samples.registerRun("altered")
            let quiet = try MeddlingProxy(to: coordinator.port)
            let client = try await ControlClient.connect(host: "127.0.0.1", port: quiet.port, key: key)
            _ = try await client.send(ListRuns())
            client.close()
            let lengths = [quiet.bytes(.toServer).count, quiet.bytes(.toClient).count]
            #expect(lengths.allSatisfy { $0 > 50 + 18 })

            let frame = try MessageCodec.frame(request, requestID: 1).count
            for offset in 0..<50 + 2 + frame + 16 {
                let change = MeddlingProxy.Change(.toServer, offset: offset, bit: Int.random(in: 0..<8, using: &random))
                await expectFailure(request, through: change, of: coordinator, key, "seed \(seed), \(change)")
            }
            #expect(try await direct.send(ListRuns()).runs == [], "seed \(seed)")
            for offset in 0..<lengths[1] {
                let change = MeddlingProxy.Change(.toClient, offset: offset, bit: Int.random(in: 0..<8, using: &random))
                await expectFailure(ListRuns(), through: change, of: coordinator, key, "seed \(seed), \(change)")
            }
        }
    }

    private func expectFailure(
        _ request: some ControlRequest, through change: MeddlingProxy.Change, of coordinator: LiveCoordinator,
        _ key: ControlKey, _ comment: Comment
    ) async {
        await #expect(throws: ControlError.self, comment) {
            let proxy = try MeddlingProxy(to: coordinator.port, changing: change)
            // A length that has grown makes its reader wait for what does not come.
            let client = try await ControlClient.connect(
                host: "127.0.0.1", port: proxy.port, key: key, timeout: .milliseconds(300))
            defer { client.close() }
            _ = try await client.send(request, timeout: .milliseconds(300))
        }
    }

    /// Neither side takes an altered record for the loss of the coordinator.
    @Test func anAlteredRecordIsToldSo() async throws {
        let key = try keys.key("key")
        try await LiveCoordinator.run(keys: keys.accepted(["key"])) { coordinator in
            for direction in [MeddlingProxy.Direction.toServer, .toClient] {
                let proxy = try MeddlingProxy(to: coordinator.port, changing: .init(direction, offset: 60, bit: 0))
                let client = try await ControlClient.connect(host: "127.0.0.1", port: proxy.port, key: key)
                for _ in 0..<2 {
                    let error = await #expect(throws: ControlError.self) { try await client.send(ListRuns()) }
                    #expect(error?.code == .tampered)
                    #expect(error?.isTransient == true)
                }
            }
        }
    }

    /// A recorded connection, sent again from any point on: the coordinator's part is another one.
    @Test func aRepeatedConnectionChangesNothing() async throws {
        var limits = Limits()
        limits.transferTime = .milliseconds(300)
        let key = try keys.key("key")
        try await LiveCoordinator.run(limits: limits, keys: keys.accepted(["key"])) { coordinator in
            let direct = try await coordinator.client(key: key)
            _ = try await direct.send(Samples.registerRun("demo"))
            let proxy = try MeddlingProxy(to: coordinator.port)
            let client = try await ControlClient.connect(host: "127.0.0.1", port: proxy.port, key: key)
            #expect(try await client.send(ControlPlanning(run: "demo", freeze: true, who: "a", why: "b")).frozen)
            client.close()
            let recorded = proxy.bytes(.toServer)
            _ = try await direct.send(ControlPlanning(run: "demo", freeze: false, who: "a", why: "b"))
            let before = try await direct.send(ShowRun(run: "demo"))
            let port = coordinator.port
            try await blocking {
                let again = try PlainClient(port: port)
                try again.send(recorded)
                #expect(try again.receive(50).prefix(2) == Data([0, 48]))
                // An answer that only those can read who made the ephemeral key.
                let length = try again.receive(2).reduce(0) { $0 << 8 | Int($1) }
                _ = try again.receive(length)
                #expect(throws: PlainClient.Closed.self) { try again.receive(1) }
                // The handshake alone, which the coordinator cannot tell from a new one, keeps no connection open.
                let silent = try PlainClient(port: port)
                try silent.send(recorded.prefix(50))
                _ = try silent.receive(50)
                #expect(throws: PlainClient.Closed.self) { try silent.receive(1) }
            }
            #expect(try await direct.send(ShowRun(run: "demo")) == before)
        }
    }

    /// Nor does anything that comes behind a repeated handshake keep it open for longer.
    @Test func aRepeatedHandshakeBuysNoTime() async throws {
        var limits = Limits()
        limits.transferTime = .seconds(2)
        let key = try keys.key("key")
        try await LiveCoordinator.run(limits: limits, keys: keys.accepted(["key"])) { coordinator in
            let proxy = try MeddlingProxy(to: coordinator.port)
            try await ControlClient.connect(host: "127.0.0.1", port: proxy.port, key: key).close()
            let handshake = proxy.bytes(.toServer)
            try await blocking {
                try eventually("the first client is gone") { coordinator.server.connectionCount == 0 }
                let begin = SuspendingClock.now
                let client = try PlainClient(port: coordinator.port)
                try client.send(handshake)
                _ = try client.receive(50)
                // What it is refused for comes shortly before its time is over.
                var end = pollfd(fd: client.descriptor, events: Int16(POLLIN), revents: 0)
                #expect(poll(&end, 1, 1_800) == 0)
                try client.send(Data([0, 16]) + Data(count: 16))
                try eventually("who repeats a handshake is ended") { coordinator.server.connectionCount == 0 }
                #expect(SuspendingClock.now - begin < .milliseconds(3_800))
                withExtendedLifetime(client) {}
            }
        }
    }

    /// Two requests at once, and what becomes of them when records come twice, in another order, or not as they were sent.
    @Test(arguments: RecordProxy.Trick.allCases, [MeddlingProxy.Direction.toServer, .toClient])
    func recordsComeOnceAndInOrder(trick: RecordProxy.Trick, direction: MeddlingProxy.Direction) async throws {
        let key = try keys.key("key")
        try await LiveCoordinator.run(keys: keys.accepted(["key"])) { coordinator in
            let direct = try await coordinator.client(key: key)
            let proxy = try RecordProxy(to: coordinator.port, playing: trick, on: direction)
            let client = try await ControlClient.connect(host: "127.0.0.1", port: proxy.port, key: key)
            let errors = await withTaskGroup(of: ControlError?.self, returning: [ControlError].self) { group in
                for name in ["a", "b"] {
                    group.addTask {
                        do throws(ControlError) {
                            _ = try await client.send(Samples.registerRun(name))
                            return nil
                        } catch {
                            return error
                        }
                    }
                }
                return await group.reduce(into: []) { if let error = $1 { $0.append(error) } }
            }
            // What came before the first altered record counts.
            #expect(errors.count == 2 || trick == .repeated && errors.count == 1, "\(errors)")
            let next = await #expect(throws: ControlError.self) { try await client.send(ListRuns()) }
            for error in errors + (next.map { [$0] } ?? []) {
                #expect(error.code == (trick == .cutOff ? .connectionClosed : .tampered), "\(error.message)")
                #expect(!error.message.contains("\n"))
            }
            // Another connection goes on, and shows that what was meddled with has changed nothing.
            let runs = try await direct.send(ListRuns()).runs
            switch direction {
            case .toServer: #expect(runs.count <= (trick == .repeated ? 1 : 0), "\(runs)")
            case .toClient: #expect(runs.count <= 2, "\(runs)")
            }
            #expect(runs.allSatisfy { $0.incarnation == 1 })
        }
    }

    /// A client that sends its handshake, or its first record, in drops: neither it nor others are waited for longer.
    @Test func aSlowHandshakeIsEnded() async throws {
        var limits = Limits()
        limits.transferTime = .milliseconds(300)
        let key = try keys.key("key")
        try await LiveCoordinator.run(limits: limits, keys: keys.accepted(["key"])) { coordinator in
            let proxy = try MeddlingProxy(to: coordinator.port)
            let recording = try await ControlClient.connect(host: "127.0.0.1", port: proxy.port, key: key)
            recording.close()
            let handshake = proxy.bytes(.toServer)
            #expect(handshake.count == 50)
            let port = coordinator.port
            for (whole, drops) in [(Data(), handshake), (handshake, Data([0xFF, 0xFF]) + Data(count: 98))] {
                let dripping = Task {
                    try await blocking {
                        let client = try PlainClient(port: port)
                        try client.send(whole)
                        if !whole.isEmpty { _ = try client.receive(50) }
                        var end = pollfd(fd: client.descriptor, events: Int16(POLLIN), revents: 0)
                        var sent = 0
                        // The wait for the coordinator's word sets the pace: two seconds and more for all.
                        while sent < drops.count, poll(&end, 1, 50) == 0 {
                            try client.send(Data([drops[drops.startIndex + sent]]))
                            sent += 1
                        }
                        #expect(sent < drops.count)
                        #expect(throws: PlainClient.Closed.self) { try client.receive(1) }
                    }
                }
                #expect(try await coordinator.client(key: key).send(ListRuns()).runs == [])
                try await dripping.value
            }
        }
    }

    /// Handshakes that are no handshakes, and those that end too early.
    @Test func garbageIsRefusedInTime() async throws {
        let seed = TestRuns.seed()
        var limits = Limits()
        limits.transferTime = .milliseconds(300)
        let key = try keys.key("key")
        try await LiveCoordinator.run(limits: limits, keys: keys.accepted(["key"])) { coordinator in
            let proxy = try MeddlingProxy(to: coordinator.port)
            let client = try await ControlClient.connect(host: "127.0.0.1", port: proxy.port, key: key)
            _ = try await client.send(ListRuns())
            client.close()
            let handshake = proxy.bytes(.toServer).prefix(50)
            let port = coordinator.port
            try await blocking {
                var random = SeededGenerator(seed: seed)
                var open = [PlainClient]()
                for round in 0..<100 {
                    let garbage = Data(
                        (0..<Int.random(in: 1...200, using: &random)).map { _ in
                            UInt8.random(in: 0...255, using: &random)
                        })
                    let client = try PlainClient(port: port)
                    try client.send(round % 2 == 0 ? garbage : Data([0, 48]) + garbage)
                    if round % 4 < 2 { open.append(client) }
                }
                for cut in 0..<50 {
                    try PlainClient(port: port).send(handshake.prefix(cut))
                    let client = try PlainClient(port: port)
                    try client.send(handshake.prefix(cut))
                    open.append(client)
                }
                // Those that wait are ended, whatever they had sent.
                for client in open {
                    #expect(throws: PlainClient.Closed.self, "seed \(seed)") {
                        while true { _ = try client.receive(1) }
                    }
                }
            }
            #expect(try await coordinator.client(key: key).send(ListRuns()).runs == [])
        }
    }
}
