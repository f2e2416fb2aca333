import ControlProtocol
import ControlTestSupport
import Foundation
import Testing

/// A coordinator with keys, and clients with the right one, another one and none.
struct SecureConnectionTests {
    private let keys: KeyFolder

    init() throws { keys = try KeyFolder() }

    private func expectError(
        _ code: ControlError.Code, _ text: String? = nil, sourceLocation: SourceLocation = #_sourceLocation,
        _ body: () async throws -> Void
    ) async {
        let error = await #expect(throws: ControlError.self, sourceLocation: sourceLocation) { try await body() }
        #expect(error?.code == code, "\(error?.message ?? "")", sourceLocation: sourceLocation)
        if let text {
            #expect(error?.message.contains(text) == true, "\(error?.message ?? "")", sourceLocation: sourceLocation)
        }
        #expect(error?.message.contains("\n") == false, sourceLocation: sourceLocation)
    }

    private func expectNoRuns(_ client: ControlClient) async throws {
        let runs = try await client.send(ListRuns()).runs
        #expect(runs == [])
    }

    /// What the state machine promises holds over an encrypted connection, too.
    @Test(arguments: ChangeScenarios.all.map(\.name))
    func scenario(name: String) async throws {
        let body = try #require(ChangeScenarios.all.first { $0.name == name }?.body)
        let key = try keys.key("key")
        try await LiveCoordinator.run(keys: keys.accepted(["key"])) { coordinator in
            try await body(ChangeScenarios(coordinator.client(key: key)))
        }
    }

    @Test func theWrongKeyIsRefusedAtOnce() async throws {
        let wrong = try keys.key("wrong")
        let right = try keys.key("right")
        try await LiveCoordinator.run(keys: keys.accepted(["right"])) { coordinator in
            await expectError(.unauthenticated, "does not take this program's key") {
                _ = try await coordinator.client(key: wrong)
            }
            try await expectNoRuns(coordinator.client(key: right))
        }
    }

    @Test func clientsWithoutAKeyAreToldSo() async throws {
        let key = try keys.key("key")
        try await LiveCoordinator.run(keys: keys.accepted(["key"])) { coordinator in
            let client = try await coordinator.client()
            // Longer than what the coordinator reads of it.
            let plan = try Samples.registerRun(worldSize: 4, nodes: [0, 0, 1, 1], plan: Samples.plan)
            await expectError(.unauthenticated, "--key-file") { _ = try await client.send(plan) }
            let port = coordinator.port
            try await blocking {
                let client = try PlainClient(port: port)
                try client.send(Data([0, 0]))
                #expect(try client.receive()["code"] == "unauthenticated")
                #expect(throws: PlainClient.Closed.self) { try client.receive(1) }
            }
            try await expectNoRuns(coordinator.client(key: key))
        }
    }

    @Test func aCoordinatorWithoutKeysIsNotTrusted() async throws {
        let key = try keys.key("key")
        try await LiveCoordinator.run { coordinator in
            await expectError(.unauthenticated, "has no keys") { _ = try await coordinator.client(key: key) }
            try await expectNoRuns(coordinator.client())
        }
    }

    /// What answers in the coordinator's place without its key, and how the client takes it.
    @Test func impostorsAreNotTrusted() async throws {
        let key = try keys.key("key")
        let handshake = Data([0, 48])
        let answers: [(Data, ControlError.Code)] = [
            (handshake + Data(count: 48), .unauthenticated), (handshake + Data((0..<48).map { $0 }), .unauthenticated),
            (handshake + Data(count: 47), .connectionClosed), (Data([0]), .connectionClosed),
            (Data(), .connectionClosed),
            (Data([0, 49]) + Data(count: 49), .protocolViolation), (Data("SSH-2.0-x\r\n".utf8), .protocolViolation),
            (PlainClient.frame(Data("{}".utf8)), .protocolViolation),
            (try MessageCodec.frame(Runs(runs: [], truncated: false), requestID: 1), .protocolViolation),
            (try MessageCodec.frame(ErrorReply(ControlError(.overloaded, "\u{1b}[2J")), requestID: nil), .overloaded),
        ]
        for (answer, code) in answers {
            let server = try ScriptedServer { connection in
                var request = [UInt8](repeating: 0, count: 50)
                _ = recv(connection.descriptor, &request, 50, Int32(MSG_WAITALL))
                try connection.send(answer)
            }
            await expectError(code) {
                _ = try await ControlClient.connect(host: "127.0.0.1", port: server.port, key: key)
            }
        }
        let silent = try ScriptedServer { connection in
            var request = [UInt8](repeating: 0, count: 51)
            _ = recv(connection.descriptor, &request, 51, Int32(MSG_WAITALL))
        }
        await expectError(.timedOut, "did not answer the handshake") {
            _ = try await ControlClient.connect(
                host: "127.0.0.1", port: silent.port, key: key, timeout: .milliseconds(100))
        }
    }

    @Test func keysAreChangedWithoutAnInterruption() async throws {
        let old = try keys.key("old")
        let new = try keys.key("new")
        for (accepted, taken, refused) in [
            (["old"], [old], [new]), (["new", "old"], [old, new], []), (["new"], [new], [old]),
        ] {
            try await LiveCoordinator.run(keys: keys.accepted(accepted)) { coordinator in
                for key in taken { try await expectNoRuns(coordinator.client(key: key)) }
                for key in refused {
                    await expectError(.unauthenticated) { _ = try await coordinator.client(key: key) }
                }
            }
        }
    }

    /// Every type of request under every kind of key.
    @Test func rolesDecideWhoMayAskForWhat() async throws {
        let both: Set<ControlRole> = [.worker, .operator]
        let table: [String: Set<ControlRole>] = [
            "register_run": [.worker], "register_worker": [.worker], "report": [.worker], "reports": [.worker],
            "finish_run": [.worker],
            "poll_plan": [.worker], "plan_progress": [.worker], "propose_placement": [.operator],
            "control_planning": [.operator], "archive_run": [.operator], "delete_run": [.operator],
            "back_up_database": [.operator], "list_runs": both, "show_run": both, "show_placement": both,
            "list_workers": both, "list_plans": both, "join_world": [.worker], "open_world": [.worker],
            "record_checkpoint": [.worker], "list_checkpoints": both, "list_intervals": both, "list_loads": both,
            "show_timings": both, "list_events": both,
        ]
        let requests = try Samples.requests
        #expect(Set(requests.map { type(of: $0).type }) == Set(table.keys))
        let accepted = try keys.accepted(["worker", "worker-2"], operators: ["operator", "operator-2"])
        for (name, role) in [
            ("worker", ControlRole.worker), ("worker-2", .worker), ("operator", .operator), ("operator-2", .operator),
        ] {
            let key = try keys.key(name)
            try await LiveCoordinator.run(keys: accepted) { coordinator in
                let client = try await coordinator.client(key: key)
                for request in requests {
                    let type = type(of: request).type
                    let code = await Self.code(of: request, from: client)
                    #expect((code == .forbidden) == !(table[type]?.contains(role) ?? false), "\(type) as \(name)")
                }
                // Refused requests leave the connection as it was.
                _ = try await client.send(ListRuns())
            }
        }
        // A sole key, and none at all, are good for everything.
        for accepted in [try keys.accepted(["sole"]), AcceptedKeys()] {
            let key = accepted.isEmpty ? nil : try keys.key("sole")
            try await LiveCoordinator.run(keys: accepted) { coordinator in
                let client = try await coordinator.client(key: key)
                for request in requests {
                    #expect(await Self.code(of: request, from: client) != .forbidden, "\(type(of: request).type)")
                }
            }
        }
    }

    private static func code(of request: some ControlRequest, from client: ControlClient) async -> ControlError.Code? {
        do {
            _ = try await client.send(request)
            return nil
        } catch {
            return error.code
        }
    }

    @Test func eventsSayWho() async throws {
        let worker = try keys.key("worker")
        let `operator` = try keys.key("operator")
        try await LiveCoordinator.run(keys: keys.accepted(["worker"], operators: ["operator"])) { coordinator in
            _ = try await coordinator.client(key: worker).send(Samples.registerRun("demo"))
            let client = try await coordinator.client(key: `operator`)
            let freeze = ControlPlanning(run: "demo", freeze: true, who: "ada on node-9", why: "a drill")
            await expectError(.forbidden, "for operators") {
                _ = try await coordinator.client(key: worker).send(freeze)
            }
            #expect(try await client.send(freeze).frozen)
            let events = try await client.send(ShowRun(run: "demo")).events
            #expect(events.filter { $0.kind == .planningFrozen }.map(\.who) == ["operator ada on node-9"])
        }
    }

    @Test func onlyWithAKeyBeyondThisMachine() async throws {
        for host in ["0.0.0.0", "::"] {
            let endpoint = Endpoint(host: host, port: 0)
            await expectError(.connectionFailed, "without a key") { _ = try await LiveCoordinator.listen(endpoint) }
            try await LiveCoordinator.listen(endpoint, keys: keys.accepted(["key"]))
        }
    }
}
