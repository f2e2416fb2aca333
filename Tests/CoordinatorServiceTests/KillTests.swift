import ControlTestSupport
import CoordinatorService
import Foundation
import GRDB
import TestSupport
import Testing

/// The program is gone from one moment to the next; what it acknowledged before is there, and nothing twice.
@Suite(.serialized) struct KillTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    private var arguments: [String] {
        ["serve", "--database", folder.path("moe.db"), "--listen", "127.0.0.1:0"]
    }

    /// Opening the store checks its integrity, too.
    private func problems(_ items: [AcknowledgedItem]) throws -> [String] {
        let store = try CoordinatorStore(path: folder.path("moe.db"))
        defer { try? store.close() }
        return try store.queue.read { db in try AcknowledgedItem.problems(items, db) }
    }

    @Test func killedAtRandomMomentsUnderLoad() async throws {
        let seed = TestRuns.seed()
        var random = SeededGenerator(seed: seed)
        let rounds = TestRuns.count(20, soak: 200)
        var total = [AcknowledgedItem]()
        for round in 0..<rounds {
            let program = try CoordinatorProgram(arguments)
            let port = program.port
            let clients = (0..<8).map { client in
                Task { try await blocking { try Self.load(client, round: round, port: port) } }
            }
            // The moment is what is random here; nothing waits for anything.
            try await Task.sleep(for: .milliseconds(Int.random(in: 5...200, using: &random)))
            #expect(program.end(SIGKILL).reason == .uncaughtSignal)
            var acknowledged = [AcknowledgedItem]()
            for client in clients { acknowledged += try await client.value }
            #expect(try problems(acknowledged) == [], "seed \(seed), round \(round)")
            total += acknowledged
        }
        // What an earlier coordinator acknowledged is there after all later ones.
        #expect(try problems(total) == [], "seed \(seed)")
        print("\(total.count) items acknowledged by \(rounds) killed coordinators")
        #expect(total.count > rounds)
    }

    /// What a client was acknowledged until its coordinator was gone.
    private static func load(_ number: Int, round: Int, port: UInt16) throws -> [AcknowledgedItem] {
        let names = ["reports-a", "reports-a", "reports-a", "reports-b", "reports-b", "plans", "starts", "control"]
        var acknowledged = [AcknowledgedItem]()
        do {
            var client = try LoadClient(port: port, run: "\(names[number])-\(round)")
            defer { acknowledged = client.acknowledged }
            let ranks = [0, 1, 2, 0, 1]
            try client.start("one", worldSize: names[number] == "reports-a" ? 3 : 2)
            if number < ranks.count { try client.register(rank: ranks[number]) }
            for turn in 1... {
                switch names[number] {
                case "plans": try client.changePlan(shift: turn % 2)
                case "starts": try client.start("start \(turn)", worldSize: 1 + turn % 2)
                case "control": try client.control(number: turn)
                default: try client.report(rank: ranks[number], sequence: turn)
                }
            }
        } catch is PlainClient.Closed {
        } catch is PlainClient.Failed {}
        return acknowledged
    }

    /// Before and after every commit and every answer of a job's life.
    @Test func killedAtEveryFailpoint() async throws {
        for place in ["before-commit", "after-commit", "before-reply", "after-reply"] {
            for number in 1...Self.requests + 1 {
                let program = try CoordinatorProgram(arguments, environment: ["MOE_FAILPOINT": "\(place):\(number)"])
                let port = program.port
                let acknowledged = try await blocking { try Self.live("\(place)-\(number)", port: port) }
                let mayLive = number > Self.requests
                let end = mayLive ? program.end(SIGTERM) : program.end()
                #expect(end.reason == (mayLive ? .exit : .uncaughtSignal), "\(place):\(number)")
                // An answer that was not sent may be of a change that was made, but not the other way round.
                #expect(
                    acknowledged.count == min(Self.requests, place == "after-reply" ? number : number - 1),
                    "\(place):\(number)")
                #expect(try problems(acknowledged) == [], "\(place):\(number)")
            }
        }
    }

    /// Of a job's life; each has a commit and an answer.
    private static let requests = 10

    /// What was acknowledged until the end of the connection, or of the job.
    private static func live(_ run: String, port: UInt16) throws -> [AcknowledgedItem] {
        var client = try LoadClient(port: port, run: run)
        do {
            try client.start("one", worldSize: 2)
            for rank in 0..<2 { try client.register(rank: rank) }
            for sequence in 1...2 { try client.report(rank: 1, sequence: sequence) }
            try client.changePlan(shift: 0)
            try client.control(number: 1)
            try client.finish()
        } catch is PlainClient.Closed {
        } catch is PlainClient.Failed {}
        return client.acknowledged
    }
}
