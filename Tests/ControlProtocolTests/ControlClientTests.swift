import ControlProtocol
import ControlTestSupport
import Foundation
import Testing

/// The client against a server that does not do what it should.
struct ControlClientTests {
    @Test func answersAreMatchedByIDInAnyOrder() async throws {
        let server = try ScriptedServer { connection in
            var ids = [Int]()
            for _ in 0..<5 { ids.append(try connection.receiveID()) }
            for id in ids.reversed() { try connection.answer(Acknowledged(sequence: id * 10), id: id) }
            _ = try? connection.receiveID()
        }
        let client = try await ControlClient.connect(host: "127.0.0.1", port: server.port)
        let answers = try await withThrowingTaskGroup { group in
            for sequence in 1...5 {
                group.addTask { try await client.send(Samples.report(sequence: sequence)).sequence }
            }
            return try await group.reduce(into: Set<Int?>()) { $0.insert($1) }
        }
        #expect(answers == [10, 20, 30, 40, 50])
    }

    @Test func aLateAnswerDisturbsNobody() async throws {
        let server = try ScriptedServer { connection in
            let slow = try connection.receiveID()
            let next = try connection.receiveID()
            try connection.answer(Acknowledged(sequence: 1), id: slow)
            try connection.answer(Acknowledged(sequence: 2), id: next)
            _ = try? connection.receiveID()
        }
        let client = try await ControlClient.connect(host: "127.0.0.1", port: server.port)
        let error = await #expect(throws: ControlError.self) {
            try await client.send(Samples.report(), timeout: .milliseconds(50))
        }
        #expect(error?.code == .timedOut)
        #expect(error?.isUnreachable == true)
        #expect(try await client.send(Samples.report()).sequence == 2)
    }

    @Test func aClosedConnectionFailsOpenAndLaterRequests() async throws {
        let server = try ScriptedServer { connection in _ = try connection.receiveID() }
        let client = try await ControlClient.connect(host: "127.0.0.1", port: server.port)
        for _ in 0..<2 {
            let error = await #expect(throws: ControlError.self) { try await client.send(ListRuns()) }
            #expect(error?.code == .connectionClosed)
        }
    }

    @Test func aConnectionThatEndsWithinAFrameIsClosed() async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.receiveID()
            try connection.send(Data([0, 0, 1, 0, 123]))
        }
        let client = try await ControlClient.connect(host: "127.0.0.1", port: server.port)
        let error = await #expect(throws: ControlError.self) { try await client.send(ListRuns()) }
        #expect(error?.code == .connectionClosed)
    }

    @Test(arguments: [Data("hello".utf8), Data("[]".utf8), Data("{\"request_id\":1}".utf8)])
    func otherAnswersAreViolations(payload: Data) async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.receiveID()
            try connection.send(Frame.encode(payload))
            _ = try? connection.receiveID()
        }
        let client = try await ControlClient.connect(host: "127.0.0.1", port: server.port)
        let error = await #expect(throws: ControlError.self) { try await client.send(ListRuns()) }
        #expect(error?.code == .protocolViolation)
    }

    @Test func aFrameOverTheLimitEndsTheConnection() async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.receiveID()
            try connection.send(Data([255, 255, 255, 255]))
            _ = try? connection.receiveID()
        }
        let client = try await ControlClient.connect(host: "127.0.0.1", port: server.port)
        let error = await #expect(throws: ControlError.self) { try await client.send(ListRuns()) }
        #expect(error?.code == .limitExceeded)
    }

    @Test func anErrorWithoutAnIDRefusesTheConnection() async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.receiveID()
            try connection.answer(ErrorReply(ControlError(.overloaded, "too many")), id: nil)
            _ = try? connection.receiveID()
        }
        let client = try await ControlClient.connect(host: "127.0.0.1", port: server.port)
        let error = await #expect(throws: ControlError.self) { try await client.send(ListRuns()) }
        #expect(error?.code == .overloaded)
        // Nothing was said of later ones, which another connection may take.
        for _ in 0..<2 {
            let later = await #expect(throws: ControlError.self) { try await client.send(ListRuns()) }
            #expect(later?.code == .connectionClosed)
            #expect(later?.message.hasSuffix("is closed: too many") == true, "\(later?.message ?? "")")
        }
    }

    /// As a server that has too many connections does at once.
    @Test func theFirstRequestMeetsARefusalThatCameBefore() async throws {
        let server = try ScriptedServer { connection in
            try connection.answer(ErrorReply(ControlError(.overloaded, "too many")), id: nil)
            _ = try? connection.receiveID()
        }
        let client = try await ControlClient.connect(host: "127.0.0.1", port: server.port)
        let error = await #expect(throws: ControlError.self) { try await client.send(ListRuns()) }
        #expect(error?.code == .overloaded)
        let later = await #expect(throws: ControlError.self) { try await client.send(ListRuns()) }
        #expect(later?.code == .connectionClosed)
    }

    @Test func cancellationEndsTheWait() async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.receiveID()
            _ = try? connection.receiveID()
        }
        let client = try await ControlClient.connect(host: "127.0.0.1", port: server.port)
        let task = Task { try await client.send(ListRuns()) }
        task.cancel()
        let error = await #expect(throws: ControlError.self) { try await task.value }
        #expect(error?.code == .cancelled)
    }

    @Test func onlySoManyRequestsWait() async throws {
        let server = try ScriptedServer { connection in
            _ = try connection.receiveID()
            _ = try? connection.receiveID()
        }
        var limits = Limits()
        limits.requestsInFlight = 1
        let client = try await ControlClient.connect(host: "127.0.0.1", port: server.port, limits: limits)
        let first = Task { try await client.send(ListRuns()) }
        await server.received()
        let error = await #expect(throws: ControlError.self) { try await client.send(ListRuns()) }
        #expect(error?.code == .overloaded)
        client.close()
        _ = try? await first.value
    }

    @Test func nobodyListens() async throws {
        let port = try ScriptedServer { _ in }.port
        let error = await #expect(throws: ControlError.self) {
            try await ControlClient.connect(host: "127.0.0.1", port: port)
        }
        #expect(error?.code == .connectionFailed)
        #expect(error?.isUnreachable == true)
    }

    @Test func hostsThatDoNotExist() async throws {
        let error = await #expect(throws: ControlError.self) {
            try await ControlClient.connect(host: "no-such-host.invalid", port: 7700, timeout: .seconds(30))
        }
        #expect(error?.code == .unresolvedHost)
    }

    @Test func namesAreResolved() async throws {
        let server = try ScriptedServer { connection in
            try connection.answer(Runs(runs: [], truncated: false), id: connection.receiveID())
        }
        let client = try await ControlClient.connect(to: Endpoint("localhost:\(server.port)"))
        #expect(try await client.send(ListRuns()).runs == [])
    }
}
