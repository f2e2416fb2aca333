import ControlProtocol
import ControlTestSupport
import CoordinatorService
import ExpertPlacement
import Foundation
import GRDB
import TestSupport
import Testing

/// What Prometheus reads when the database hangs, or there is no room.
struct MetricsAdversityTests {
    /// What has to do with runs is left out, and the check is told as failed.
    @Test func aDatabaseThatHangsIsToldOf() async throws {
        var limits = Limits()
        limits.healthCheckTime = .milliseconds(100)
        try await LiveCoordinator.run(limits: limits, http: true) { coordinator in
            _ = try await coordinator.client().send(Samples.registerRun())
            let port = coordinator.httpPort
            try await coordinator.whileItsDatabaseHangs {
                for _ in 0..<3 {
                    let answer = try HTTPQuestion("/metrics", port: port)
                    #expect(answer.status == 200)
                    #expect(answer.body.contains("\nmoe_coordinator_check_failed{check=\"database-readable\"} 1\n"))
                    #expect(!answer.body.contains("run=\"shakespeare\""))
                }
            }
            try await blocking {
                try eventually("runs are told of again") {
                    try HTTPQuestion("/metrics", port: port).body.contains("run=\"shakespeare\"")
                }
            }
        }
    }

    /// By what clients were told: an answer that finds no room is none.
    @Test func refusalsForWantOfRoomAreCounted() async throws {
        let folder = try TemporaryFolder()
        let database = folder.path("moe.db")
        try await LiveCoordinator.run(database: database) { coordinator in
            // Its plan is long.
            let widths = [[Int]](repeating: [Int](repeating: 8, count: 64), count: 64)
            let model = ExpertModel(hiddenSize: 8, layers: widths)
            _ = try await coordinator.client().send(Samples.registerRun(model: model))
        }
        var limits = Limits()
        limits.bufferedBytes = 100_000
        try await LiveCoordinator.run(limits: limits, database: database, http: true) { coordinator in
            let port = coordinator.httpPort
            try await blocking {
                let refused = try HTTPQuestion("/api/v1/runs/shakespeare/placement", port: port)
                #expect(refused.status == 503)
                #expect(try JSONValue(Data(refused.body.utf8))["code"] == "overloaded", "\(refused.body)")
                let body = try HTTPQuestion("/metrics", port: port).body
                #expect(body.contains("\nmoe_coordinator_http_answers_total{status=\"200\"} 0\n"))
                #expect(body.contains("\nmoe_coordinator_http_answers_total{status=\"503\"} 1\n"))
            }
        }
        limits = Limits()
        limits.httpConnections = 1
        limits.connections = 1
        try await LiveCoordinator.run(limits: limits, http: true) { coordinator in
            let client = try await coordinator.client()
            _ = try await client.send(ListRuns())
            let (port, controlPort) = (coordinator.httpPort, coordinator.port)
            try await blocking {
                let other = try PlainClient(port: controlPort)
                #expect(try other.receive()["code"] == "overloaded")
                let slow = try PlainClient(port: port ?? 0)
                try slow.send(Data("GET /livez HTTP/1.1\r\n".utf8))
                #expect(try HTTPQuestion("/livez", port: port).status == 503)
                // There is room again soon.
                try slow.send(Data("\r\n".utf8))
                #expect(try HTTPQuestion(answerTo: slow).status == 200)
            }
            try await blocking {
                var refused = 1
                var answer = try HTTPQuestion("/metrics", port: port)
                try eventually("there is room again") {
                    guard answer.status == 503 else { return true }
                    refused += 1
                    answer = try HTTPQuestion("/metrics", port: port)
                    return false
                }
                #expect(answer.body.contains("\nmoe_coordinator_http_answers_total{status=\"503\"} \(refused)\n"))
                #expect(answer.body.contains("\nmoe_coordinator_refusals_total{code=\"overloaded\"} 1\n"))
            }
        }
    }
}
