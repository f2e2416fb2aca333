import ControlProtocol
import ControlTestSupport
import CoordinatorService
import Foundation
import Synchronization
import TestSupport
import Testing

/// News over HTTP.
struct LiveStreamTests {
    private var limits: Limits {
        var limits = Limits()
        limits.liveInterval = .milliseconds(5)
        return limits
    }

    @Test func newsComeAsTheyHappen() async throws {
        try await LiveCoordinator.run(limits: limits, http: true) { coordinator in
            let client = try await coordinator.client()
            _ = try await client.send(Samples.registerRun("other"))
            _ = try await client.send(Samples.registerRun())
            _ = try await client.send(Samples.registerWorker())
            let port = coordinator.httpPort
            let (stream, first, all, start) = try await blocking {
                let stream = try EventStream("/api/v1/runs/shakespeare/live", port: port)
                #expect(stream.head.hasPrefix("HTTP/1.1 200 "))
                #expect(stream.head.contains("Content-Type: text/event-stream\r\n"))
                #expect(stream.head.contains("Cache-Control: no-store") && !stream.head.contains("Content-Length"))
                let all = try EventStream("/api/v1/live", port: port)
                return (Held(stream), try #require(try stream.next()), Held(all), try #require(try all.next()))
            }
            #expect(first.name == "change" && first.data["type"] == "change" && first.data["version"] == 1)
            #expect(first.data["run"] == "shakespeare" && first.data["state"] == "running")
            #expect(first.data["reports"] == 0 && first.data["plan_revision"] == 1 && first.data["step"] == nil)
            let newest = try #require(try await client.send(ListEvents(limit: 1)).events.last).number
            #expect(first.data["events"] == .integer(newest))
            #expect(start.data["type"] == "runs_change" && start.data["runs"] == 2)

            _ = try await client.send(Samples.report())
            // Not its news.
            _ = try await client.send(Samples.registerRun("other", registration: "b"))
            let second = try await blocking { try #require(try stream.value.next()) }
            #expect(second.data["reports"] == 1 && second.data["step"] == 20 && second.data["reported_at"] != nil)
            #expect(second.data["plans"] == first.data["plans"] && second.data["events"] == first.data["events"])
            #expect(second.id > first.id)

            _ = try await client.send(
                ProposePlacement(run: "shakespeare", plan: try Samples.shiftedPlan(by: 1), who: "ada", why: "a test"))
            let third = try await blocking { try #require(try stream.value.next()) }
            #expect(third.data["plans"]?.number ?? 0 > second.data["plans"]?.number ?? 0)
            #expect(third.data["events"]?.number ?? 0 > second.data["events"]?.number ?? 0)
            // Everybody's news.
            let later = try await blocking { try #require(try all.value.next()) }
            #expect(later.data["changes"]?.number ?? 0 > start.data["changes"]?.number ?? 0)

            _ = try await client.send(Samples.finishRun())
            let fourth = try await blocking { try #require(try stream.value.next()) }
            #expect(fourth.data["state"] == "completed")
            _ = try await client.send(DeleteRun(run: "shakespeare", who: "ada", why: "old"))
            let end = try await blocking { try stream.value.next() == nil }
            #expect(end)
        }
    }

    /// At most one event in each interval, however much happens.
    @Test func muchNewsIsFewEvents() async throws {
        var limits = limits
        limits.liveInterval = .milliseconds(200)
        try await LiveCoordinator.run(limits: limits, http: true) { coordinator in
            let client = try await coordinator.client()
            _ = try await client.send(Samples.registerRun())
            _ = try await client.send(Samples.registerWorker())
            let port = coordinator.httpPort
            let stream = try await blocking { Held(try EventStream("/api/v1/runs/shakespeare/live", port: port)) }
            let start = ContinuousClock.now
            for sequence in 1...100 {
                _ = try await client.send(
                    Samples.report(sequence: sequence, sample: Samples.sample(firstStep: 10 * sequence)))
            }
            let events = try await blocking {
                var events = 0
                while let event = try stream.value.next(), event.data["reports"] != 100 { events += 1 }
                return events
            }
            #expect(Duration.milliseconds(200) * events <= .now - start + .milliseconds(200))
        }
    }

    @Test func silenceIsBroken() async throws {
        var limits = limits
        limits.liveSilence = .milliseconds(20)
        try await LiveCoordinator.run(limits: limits, http: true) { coordinator in
            let port = coordinator.httpPort
            try await blocking {
                let stream = try EventStream("/api/v1/live", port: port)
                #expect(try stream.block()?.hasPrefix("event: change\n") == true)
                for _ in 0..<3 { #expect(try stream.block() == ":\n\n") }
            }
        }
    }

    @Test func whatIsNotThereHasNoNews() async throws {
        let token = BearerToken(Array("0123456789abcdef".utf8))
        try await LiveCoordinator.run(limits: limits, http: true, token: token) { coordinator in
            _ = try await coordinator.client().send(Samples.registerRun())
            let port = coordinator.httpPort
            let authorization = ["Authorization: Bearer 0123456789abcdef"]
            try await blocking {
                for (path, status) in [
                    ("/runs/nobody/live", 404), ("/runs/-/live", 400), ("/live?x=1", 400), ("/runs/live/live", 404),
                ] {
                    let answer = try HTTPQuestion("/api/v1\(path)", port: port, headers: authorization)
                    #expect(answer.status == status)
                    #expect(try JSONValue(Data(answer.body.utf8))["type"] == "error")
                }
                #expect(try HTTPQuestion("/api/v1/live", port: port).status == 401)
                let head = try HTTPQuestion("/api/v1/live", port: port, method: "HEAD", headers: authorization)
                #expect(head.status == 200 && head.body.isEmpty)
                let stream = try EventStream("/api/v1/runs/shakespeare/live", port: port, headers: authorization)
                #expect(try stream.next() != nil)
            }
        }
    }

    /// Streams take no places of other questions, and who hangs up makes room.
    @Test func streamsAreCountedApart() async throws {
        var limits = limits
        limits.httpConnections = 1
        limits.httpStreams = 2
        try await LiveCoordinator.run(limits: limits, http: true) { coordinator in
            let port = coordinator.httpPort
            try await blocking {
                var streams = try (0..<2).map { _ in try EventStream("/api/v1/live", port: port) }
                for stream in streams { #expect(try stream.next() != nil) }
                for _ in 0..<3 { #expect(try Self.answer("/livez", port).status == 200) }
                let third = try Self.answer("/api/v1/live", port)
                #expect(third.status == 503 && third.body.contains("HTTP streams"))
                streams.removeFirst()
                // The server notices when it does.
                try eventually("another stream has the place of the one that went") { try Self.hasRoomForAStream(port) }
                #expect(streams.count == 1)
            }
        }
    }

    /// An answer's connection makes room only when the server has seen its end.
    private static func answer(_ path: String, _ port: UInt16?) throws -> HTTPQuestion {
        var answer = try HTTPQuestion(path, port: port)
        try eventually("there is room for a question") {
            guard answer.status == 503, answer.body.contains("HTTP connections") else { return true }
            answer = try HTTPQuestion(path, port: port)
            return false
        }
        return answer
    }

    private static func hasRoomForAStream(_ port: UInt16?) throws -> Bool {
        try EventStream("/api/v1/live", port: port).head.hasPrefix("HTTP/1.1 200 ")
    }

    @Test func whoDoesNotReadIsDropped() async throws {
        var limits = limits
        limits.liveInterval = .microseconds(100)
        limits.liveSilence = .zero
        limits.httpTime = .milliseconds(200)
        limits.httpStreams = 1
        try await LiveCoordinator.run(limits: limits, http: true) { coordinator in
            let port = coordinator.httpPort
            try await blocking {
                let slow = try EventStream("/api/v1/live", port: port)
                #expect(slow.head.hasPrefix("HTTP/1.1 200 "))
                var size: Int32 = 1
                setsockopt(slow.descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
                try eventually("another stream has the place of the one that does not read") {
                    try Self.hasRoomForAStream(port)
                }
                withExtendedLifetime(slow) {}
            }
        }
    }

    @Test func theEndOfTheCoordinatorEndsThem() async throws {
        var limits = limits
        limits.shutdownTime = .seconds(60)
        let streams = Mutex([Held<EventStream>]())
        let start = ContinuousClock.now
        try await LiveCoordinator.run(limits: limits, http: true) { coordinator in
            let port = coordinator.httpPort
            try await blocking {
                for _ in 0..<3 {
                    let stream = try EventStream("/api/v1/live", port: port)
                    _ = try stream.next()
                    streams.withLock { $0.append(Held(stream)) }
                }
            }
        }
        #expect(.now - start < .seconds(30))
        for stream in streams.withLock(\.self) { #expect(try stream.value.next() == nil) }
    }
}

/// What one thread after the other uses.
private struct Held<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
