import ControlProtocol
import ControlTestSupport
import CoordinatorService
import Foundation
import Testing

/// Operators learn who was refused, from however many refusals a few lines.
struct RefusalLogTests {
    @Test func manyRefusalsAreFewLines() {
        let log = CollectedLog()
        let refusals = RefusalLog(interval: .seconds(10), logger: log.logger)
        let start = ContinuousClock.now
        refusals.add(.unauthenticated, from: "192.0.2.1:1", now: start)
        let first = "warning refused a client code=unauthenticated peer=192.0.2.1:1"
        #expect(log.lines == [first])
        for number in 0..<10_000 {
            refusals.add(.unauthenticated, from: "192.0.2.1:2", now: start + .milliseconds(number / 2))
        }
        refusals.add(.tampered, from: "192.0.2.1:3", now: start + .seconds(9))
        #expect(log.lines == [first])
        refusals.writeOverdue(now: start + .seconds(10))
        let counted = log.lines.last ?? ""
        #expect(log.lines.count == 2 && counted.starts(with: "warning refused more clients counts="))
        #expect(
            counted.contains("\"unauthenticated\": \"10000\"") && counted.contains("\"tampered\": \"1\""), "\(counted)")
        #expect(counted.hasSuffix(" last_peer=192.0.2.1:3"))
        // It goes on counting while they come, and begins anew when none does.
        refusals.add(.tampered, from: "192.0.2.1:4", now: start + .seconds(11))
        refusals.writeOverdue(now: start + .seconds(19))
        #expect(log.lines.count == 2)
        refusals.writeOverdue(now: start + .seconds(20))
        #expect(log.lines.last == "warning refused more clients counts=[\"tampered\": \"1\"] last_peer=192.0.2.1:4")
        refusals.writeOverdue(now: start + .seconds(30))
        refusals.writeOverdue(now: start + .seconds(40))
        #expect(log.lines.count == 3)
        refusals.add(.forbidden, from: "192.0.2.1:5", now: start + .seconds(41))
        #expect(log.lines.last == "warning refused a client code=forbidden peer=192.0.2.1:5")
        // What was counted is not lost when the coordinator stops.
        refusals.add(.forbidden, from: "192.0.2.1:6", now: start + .seconds(42))
        refusals.writeRest()
        #expect(log.lines.last == "warning refused more clients counts=[\"forbidden\": \"1\"] last_peer=192.0.2.1:6")
        refusals.writeRest()
        #expect(log.lines.count == 5)
    }

    /// Every way of being refused, and what is not to be read in the log.
    @Test func everyRefusalIsLoggedWithoutSecrets() async throws {
        let keys = try KeyFolder()
        let (worker, wrong) = (try keys.key("worker"), try keys.key("wrong"))
        let token = "token-0123456789"
        let log = CollectedLog()
        var limits = Limits()
        limits.refusalLogInterval = .zero
        try await LiveCoordinator.run(
            limits: limits, keys: keys.accepted(["worker"], operators: ["operator"]), http: true,
            token: BearerToken(Array(token.utf8)), logger: log.logger
        ) { coordinator in
            func expectRefusal(_ code: String, _ body: () async throws -> Void) async throws {
                let before = log.lines.count
                try await body()
                let new = log.lines.dropFirst(before)
                #expect(new.count == 1, "\(new)")
                let line = new.first ?? ""
                #expect(line.starts(with: "warning refused a client code=\(code) peer=127.0.0.1:"), "\(line)")
            }
            try await expectRefusal("unauthenticated") { _ = try? await coordinator.client(key: wrong) }
            let (port, httpPort) = (coordinator.port, coordinator.httpPort)
            try await expectRefusal("unauthenticated") {
                let answer = try await blocking { try PlainClient(port: port).ask("list_runs") }
                #expect(answer["code"] == "unauthenticated")
            }
            let client = try await coordinator.client(key: worker)
            let freeze = ControlPlanning(run: "demo", freeze: true, who: "who-0123", why: "why-0123")
            try await expectRefusal("forbidden") { _ = try? await client.send(freeze) }
            func status(_ token: String) async throws -> Int {
                let header = "Authorization: Bearer \(token)"
                return try await blocking { try HTTPQuestion("/livez", port: httpPort, headers: [header]).status }
            }
            try await expectRefusal("unauthenticated") {
                let answer = try await status("guess-0123456789")
                #expect(answer == 401)
            }
            // Who may is not logged.
            let before = log.lines.count
            _ = try await client.send(ListRuns())
            #expect(try await status(token) == 200)
            #expect(log.lines.count == before)
        }
        var secrets = [token, "guess-0123456789", "who-0123", "why-0123"]
        for name in ["worker", "wrong", "operator"] {
            let bytes = try Data(contentsOf: URL(fileURLWithPath: keys.file(name)))
            secrets += [bytes.base64EncodedString(), bytes.map { String($0, radix: 16) }.joined()]
        }
        for line in log.lines {
            for secret in secrets { #expect(!line.contains(secret)) }
        }
    }
}
