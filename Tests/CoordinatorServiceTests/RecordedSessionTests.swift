import ControlProtocol
import ControlTestSupport
import Foundation
import TestSupport
import Testing

/// A session in other pieces than its client sent it, twice, in another order, late: the coordinator ends up where it should.
struct RecordedSessionTests {
    private static func name(_ number: Int) -> String {
        let digits = String(number)
        return "r" + String(repeating: "0", count: 6 - digits.count) + digits
    }

    private static func atNoon(_ body: @escaping @Sendable (UInt16) throws -> Void) async throws {
        let noon: @Sendable () -> Timestamp = { Timestamp(milliseconds: 43_200_000) }
        try await LiveCoordinator.run(now: noon) { coordinator in
            let port = coordinator.port
            try await blocking { try body(port) }
        }
    }

    /// Every chunk that is sent holds the end of one session and the beginning of the next, cut one byte further each time.
    @Test func splitAndCoalescedAtEveryByteOffset() async throws {
        try await Self.atNoon { port in
            let session = try RecordedSession(run: Self.name(0))
            let bytes = session.bytes
            let client = try PlainClient(port: port)
            var expected = [Data]()
            // Said again, it changes nothing and has the same answers every time.
            for _ in 0..<2 {
                try client.send(bytes)
                expected = try session.frames.map { _ in try client.receiveFrame() }
            }
            var previous = 0
            for cut in 0...bytes.count {
                try client.send(bytes.dropFirst(previous) + bytes.prefix(cut))
                let answers = expected[session.wholeFrames(in: previous)...] + expected[..<session.wholeFrames(in: cut)]
                for answer in answers {
                    let received = try client.receiveFrame()
                    #expect(received == answer, "cut at \(cut)")
                }
                previous = cut
            }
            print("\(bytes.count) cuts, \(session.frames.count) frames")
        }
    }

    /// The connection ends within the session, and the client says all of it again: around the ends of frames, and at every
    /// eighth byte; in the long form at every one.
    @Test func endedAnywhereAndSaidAgain() async throws {
        let seed = TestRuns.seed()
        try await Self.atNoon { port in
            let whole = try RecordedSession(run: Self.name(0))
            let client = try PlainClient(port: port)
            try client.send(whole.bytes)
            for _ in whole.frames { _ = try client.receiveFrame() }
            let history = try client.history(of: whole.run)
            let cuts = (0..<whole.bytes.count).filter { cut in
                TestRuns.isSoak || cut % 8 == Int(seed % 8)
                    || whole.wholeFrames(in: cut + 1) > whole.wholeFrames(in: max(0, cut - 2))
            }
            for cut in cuts {
                let session = try RecordedSession(run: Self.name(cut + 1))
                try Self.begin(session, cut: cut, port: port)
                try client.send(session.bytes)
                for _ in session.frames { _ = try client.receiveFrame() }
                #expect(try client.history(of: session.run) == history, "cut at \(cut)")
            }
        }
    }

    private static func begin(_ session: RecordedSession, cut: Int, port: UInt16) throws {
        let client = try PlainClient(port: port)
        try client.send(session.bytes.prefix(cut))
        switch cut % 3 {
        case 0: break  // The answers find nobody.
        case 1: for _ in 0..<session.wholeFrames(in: cut) { _ = try client.receiveFrame() }
        default:
            shutdown(client.descriptor, Int32(SHUT_WR))
            for _ in 0..<session.wholeFrames(in: cut) { _ = try client.receiveFrame() }
            #expect(throws: PlainClient.Closed.self) { try client.receive(1) }
        }
    }

    /// Over two connections, every frame once or more, in any order, until all were taken; then all of it in the next
    /// incarnation.
    @Test func duplicatedReorderedAndReplayedFrames() async throws {
        let seed = TestRuns.seed()
        let sessions = TestRuns.count(40, soak: 5_000)
        try await Self.atNoon { port in
            let clients = try (0..<2).map { _ in try PlainClient(port: port) }
            for number in 0..<sessions {
                var random = SeededGenerator(seed: seed &+ UInt64(number))
                let session = try RecordedSession(run: Self.name(number))
                try Self.shuffle(session, clients, using: &random)
                let history = try clients[0].history(of: session.run)
                #expect(history[0]["stored_reports"] == 3, "seed \(seed), session \(number)")
                let plans = Self.plans(history[1])
                #expect(plans.count(where: { $0["state"] == "active" }) == 1, "seed \(seed), session \(number)")
                // A plan that is frozen away is proposed again, under the next revision.
                #expect(plans.map { $0["revision"] } == (1...plans.count).reversed().map { .integer($0) })
                try Self.replay(session, clients[0], using: &random)
            }
        }
    }

    private static func shuffle(
        _ session: RecordedSession, _ clients: [PlainClient], using random: inout SeededGenerator
    ) throws {
        var accepted = [Int: JSONValue]()
        var last = session.frames.count - 1
        for _ in 0..<100 where accepted.count < session.frames.count {
            // The end of the run comes when the rest was taken.
            if accepted.count == last { last += 1 }
            var order = (0..<last).flatMap { [Int](repeating: $0, count: Int.random(in: 1...3, using: &random)) }
            order.shuffle(using: &random)
            for part in stride(from: 0, to: order.count, by: 4) {
                guard let client = clients.randomElement(using: &random) else { return }
                let frames = order[part..<min(part + 4, order.count)]
                try client.send(frames.map { session.frames[$0] }.reduce(Data(), +))
                for frame in frames {
                    let answer = try client.receive()
                    #expect(answer["request_id"] == .integer(frame + 1))
                    if answer["type"] == "error" { continue }
                    if let before = accepted[frame], hasOneAnswer(frame) { #expect(before == answer) }
                    accepted[frame] = answer
                }
            }
        }
        #expect(accepted.count == session.frames.count, "\(session.run): only \(accepted.keys.sorted()) were taken")
    }

    /// Whether the answer does not tell what else has happened: starts are told the active plan, and operators and polls too.
    private static func hasOneAnswer(_ frame: Int) -> Bool { ![0, 6, 7, 10].contains(frame) }

    /// The job has started again: what is left of the one before is refused.
    private static func replay(
        _ session: RecordedSession, _ client: PlainClient, using random: inout SeededGenerator
    ) throws {
        let answer = try client.ask(
            "register_run", ["run": .string(session.run)].merging(RecordedSession.registration("again")) { $1 })
        #expect(answer["incarnation"] == 2)
        let before = try client.history(of: session.run)
        // What operators say belongs to no incarnation.
        for frame in session.frames.indices.filter({ ![6, 10].contains($0) }).shuffled(using: &random) {
            try client.send(session.frames[frame])
            #expect(try client.receive()["code"] == "stale_incarnation", "frame \(frame)")
        }
        #expect(try client.history(of: session.run) == before)
    }

    private static func plans(_ history: JSONValue) -> [JSONValue] {
        guard case .array(let plans)? = history["plans"] else { return [] }
        return plans
    }
}
