import ControlProtocol
import ControlTestSupport
import CoordinatorService
import ExpertPlacement
import Foundation
import GRDB
import TestSupport
import Testing

/// What Prometheus reads.
struct MetricsTests {
    private static let prometheus = Repository.root.appending(path: "deploy/prometheus")

    private static func run(_ program: String, _ arguments: [String], input: String = "") throws -> (Int32, String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        let (output, standardInput) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = output
        process.standardInput = standardInput
        try process.run()
        try standardInput.fileHandleForWriting.write(contentsOf: Data(input.utf8))
        try standardInput.fileHandleForWriting.close()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, text)
    }

    /// A run of two ranks that has moved experts.
    private static func train(_ client: ControlClient, _ run: String = "shakespeare") async throws {
        _ = try await client.send(Samples.registerRun(run))
        for rank in 0..<2 { _ = try await client.send(Samples.registerWorker(run, rank: rank)) }
        for rank in 0..<2 {
            let sample =
                rank == 0
                ? Samples.sample(loads: [[1, 2, 3], [4, 4, 4]], dropped: [6, 0], loss: 2.5) : Samples.sample()
            _ = try await client.send(Samples.report(run, rank: rank, sample: sample))
        }
        _ = try await client.send(
            ProposePlacement(run: run, plan: try Samples.shiftedPlan(by: 1), who: "ada", why: "a test"))
        let switches = [LayerSwitch(layer: 1, step: 40), LayerSwitch(layer: 0, step: 40)]
        _ = try await client.send(Samples.progress(.accepted, run: run, step: 40))
        _ = try await client.send(Samples.progress(.applied, run: run, step: 40, switched: switches))
    }

    /// Makes everything happen that is told of only once it has.
    private static func disturb(_ coordinator: LiveCoordinator) async throws {
        let client = try await coordinator.client()
        for run in ["nobody", "-"] { _ = try? await client.send(ShowRun(run: run)) }
        let port = coordinator.port
        try await blocking {
            let client = try PlainClient(port: port)
            try client.send(PlainClient.frame(Data("{}".utf8)))
            #expect(try client.receive()["code"] == "bad_request")
        }
    }

    @Test func theyAreAsPrometheusWantsThem() async throws {
        try await LiveCoordinator.run(http: true) { coordinator in
            try await Self.train(coordinator.client())
            try await Self.disturb(coordinator)
            let port = coordinator.httpPort
            try await blocking {
                _ = try HTTPQuestion("/nothing", port: port)
                let stream = try EventStream("/api/v1/live", port: port)
                let answer = try HTTPQuestion("/metrics", port: port)
                #expect(stream.head.hasPrefix("HTTP/1.1 200 "))
                #expect(answer.status == 200 && answer.head.contains("Content-Type: text/plain; version=0.0.4"))
                let check = try Self.run("promtool", ["check", "metrics"], input: answer.body)
                #expect(check == (0, ""), "\(check.1)")
                // The canary.
                let spoilt = answer.body.replacingOccurrences(of: "moe_run_reports_total", with: "moe_run_reports")
                #expect(try Self.run("promtool", ["check", "metrics"], input: spoilt).0 != 0)
                for line in [
                    "moe_run_step{run=\"shakespeare\"} 20", "moe_run_loss{run=\"shakespeare\"} 2.5",
                    "moe_run_reports_total{run=\"shakespeare\"} 2", "moe_run_plan_revision{run=\"shakespeare\"} 2",
                    "moe_run_world_size{run=\"shakespeare\"} 2", "moe_run_reported_ranks{run=\"shakespeare\"} 2",
                    "moe_run_tokens_per_second{run=\"shakespeare\"} 30720",
                    "moe_run_step_seconds{run=\"shakespeare\"} 0.05",
                    "moe_run_phase_seconds{phase=\"experts\",run=\"shakespeare\"} 0.025",
                    "moe_run_slowest_phase_seconds{phase=\"dispatch\",run=\"shakespeare\"} 0.0125",
                    "moe_run_balance_ratio{run=\"shakespeare\"} 1", "moe_run_dropped_ratio{run=\"shakespeare\"} 0.25",
                    "moe_run_migration_bytes_total{run=\"shakespeare\"} 2048",
                    "moe_run_migration_seconds_total{run=\"shakespeare\"} 0.5",
                    "moe_coordinator_requests_total{type=\"report\"} 2",
                    "moe_coordinator_requests_total{type=\"show_run\"} 1",
                    "moe_coordinator_requests_total{type=\"unreadable\"} 2",
                    "moe_coordinator_requests_total{type=\"list_plans\"} 0",
                    "moe_coordinator_refusals_total{code=\"unknown_run\"} 1",
                    "moe_coordinator_refusals_total{code=\"bad_request\"} 2",
                    "moe_coordinator_refusals_total{code=\"unauthenticated\"} 0",
                    "moe_coordinator_http_answers_total{status=\"401\"} 0",
                    "moe_coordinator_check_failed{check=\"database-readable\"} 0",
                    "moe_coordinator_check_failed{check=\"planning\"} 0",
                    "moe_coordinator_http_answers_total{status=\"404\"} 1",
                    "moe_coordinator_http_answers_total{status=\"200\"} 1", "moe_coordinator_http_streams 1",
                    "moe_coordinator_running_runs 1", "moe_coordinator_queued_changes 0",
                    "moe_coordinator_failed_commits_total 0", "moe_coordinator_shed_reports_total 0",
                ] { #expect(answer.body.contains("\n\(line)\n"), "\(line)") }
                let commits = try #require(answer.body.firstMatch(of: /moe_coordinator_commit_seconds_count (\d+)/))
                #expect((Int(commits.1) ?? 0) >= 8)
                // A request each, or several together.
                #expect(answer.body.contains("moe_coordinator_commit_seconds_bucket{le=\"+Inf\"} \(commits.1)\n"))
                let bytes = try #require(answer.body.firstMatch(of: /moe_coordinator_database_bytes (\d+)/))
                #expect((Int(bytes.1) ?? 0) > 4_096)
            }
        }
    }

    /// How runs are now, whatever they were before, and whatever they call their phases.
    @Test func runsFallSilent() async throws {
        try await LiveCoordinator.run(http: true) { coordinator in
            let client = try await coordinator.client()
            let port = coordinator.httpPort
            func value(_ name: String) async throws -> Double? {
                let body = try await blocking { try HTTPQuestion("/metrics", port: port).body }
                let line = body.split(separator: "\n").first { $0.hasPrefix("moe_run_\(name){") }
                return line.flatMap { Double($0.split(separator: " ").last ?? "") }
            }
            _ = try await client.send(Samples.registerRun())
            // Nothing was reported yet, and for so long nothing was heard of it.
            let start = try #require(try await value("last_report_timestamp_seconds"))
            #expect(abs(start - Date().timeIntervalSince1970) < 60)
            // Nor of ranks that have not registered.
            _ = try await client.send(Samples.registerWorker(rank: 1))
            #expect(try await value("oldest_report_timestamp_seconds") == start)
            for rank in 0..<2 { _ = try await client.send(Samples.registerWorker(rank: rank)) }
            for sequence in 1...8 {
                for rank in 0..<(sequence <= 3 ? 2 : 1) {
                    var sample = Samples.sample(firstStep: 10 * sequence + 1, loss: rank == 0 ? 2.5 : nil)
                    sample.phaseSeconds["step \(sequence)"] = 5
                    sample.phaseSeconds["more"] = 2.5
                    _ = try await client.send(Samples.report(rank: rank, sequence: sequence, sample: sample))
                }
            }
            #expect(try await value("reported_ranks") == 1)
            // What rank 1 reported last is what the run has heard of it, however much came since.
            let reported = try await coordinator.store.queue.read { db in
                try Int64.fetchAll(db, sql: "SELECT reported_at FROM workers ORDER BY rank")
            }
            #expect(try await value("oldest_report_timestamp_seconds") == Double(reported[1]) / 1_000)
            #expect(try await value("last_report_timestamp_seconds") == Double(reported[0]) / 1_000)
            let body = try await blocking { try HTTPQuestion("/metrics", port: port).body }
            let phases = body.matches(of: /moe_run_phase_seconds\{phase="([^"]*)",run="shakespeare"\} (\S+)/)
            #expect(
                Dictionary(uniqueKeysWithValues: phases.map { (String($0.1), Double($0.2)) })
                    == ["experts": 0.025, "dispatch": 0.0125, "other": 0.75])
            // When it starts again, it is heard of, before any report.
            _ = try await client.send(Samples.registerRun(registration: "again"))
            let again = try #require(try await value("last_report_timestamp_seconds"))
            #expect(again > Double(reported[0]) / 1_000)
            #expect(try await value("oldest_report_timestamp_seconds") == again)
        }
    }

    /// What rank 0 measured for all is not told as what is now, once it alone is silent.
    @Test func rankZeroFallsSilent() async throws {
        try await LiveCoordinator.run(http: true) { coordinator in
            let client = try await coordinator.client()
            try await Self.train(client)
            let port = coordinator.httpPort
            func names() async throws -> Set<String> {
                let body = try await blocking { try HTTPQuestion("/metrics", port: port).body }
                return Set(body.matches(of: /(?m)^moe_run_([a-z_]+)/).map { String($0.1) })
            }
            let measured: Set = [
                "tokens_per_second", "step_seconds", "balance_ratio", "load_balance_ratio", "dropped_ratio",
                "phase_seconds", "slowest_phase_seconds", "reported_ranks",
            ]
            let before = try await names()
            #expect(before.isSuperset(of: measured))
            for sequence in 2...8 {
                let sample = Samples.sample(firstStep: 10 * sequence + 1)
                _ = try await client.send(Samples.report(rank: 1, sequence: sequence, sample: sample))
            }
            #expect(try await names() == before.subtracting(measured))
            let sample = Samples.sample(firstStep: 81, loads: [[1, 2, 3], [4, 4, 4]], dropped: [0, 0], loss: 2)
            _ = try await client.send(Samples.report(sequence: 2, sample: sample))
            #expect(try await names() == before)
            // Without a capacity nothing is said of it.
            for rank in 0..<2 {
                let sample = Samples.sample(firstStep: 91, loads: rank == 0 ? [[1, 2, 3], [4, 4, 4]] : nil)
                _ = try await client.send(Samples.report(rank: rank, sequence: 9, sample: sample))
            }
            #expect(try await names() == before.subtracting(["dropped_ratio"]))
        }
    }

    @Test func runsThatEndAreToldOfForAWhile() async throws {
        var limits = Limits()
        limits.endedRunTime = .seconds(5)
        try await LiveCoordinator.run(limits: limits, http: true) { coordinator in
            let client = try await coordinator.client()
            let port = coordinator.httpPort
            func states() async throws -> Set<String> {
                let body = try await blocking { try HTTPQuestion("/metrics", port: port).body }
                let shown = body.matches(of: /moe_run_state\{run="([^"]*)",state="([^"]*)"\} ([01])\n/)
                // Each run has all states, and is in one of them.
                #expect(shown.count == 4 * Set(shown.map { $0.1 }).count)
                return Set(shown.filter { $0.3 == "1" }.map { "\($0.1) \($0.2)" })
            }
            for run in ["a", "b", "c"] { _ = try await client.send(Samples.registerRun(run)) }
            _ = try await client.send(FinishRun(run: "a", incarnation: 1, outcome: .failed, step: 1, reason: "no idea"))
            _ = try await client.send(Samples.finishRun("b"))
            #expect(try await states() == ["a failed", "b completed", "c running"])
            // It starts again.
            _ = try await client.send(Samples.registerRun("a", registration: "a2"))
            #expect(try await states() == ["a running", "b completed", "c running"])
            try await coordinator.store.queue.write { db in
                try db.execute(sql: "UPDATE incarnations SET finished_at = finished_at - 6000")
            }
            #expect(try await states() == ["a running", "c running"])
        }
    }

    /// However many ask at once, and again afterwards.
    @Test func manyAskAtOnce() async throws {
        try await LiveCoordinator.run(http: true) { coordinator in
            try await Self.train(coordinator.client())
            let port = coordinator.httpPort
            try await withThrowingTaskGroup { group in
                for _ in 0..<16 {
                    group.addTask { try await blocking { try HTTPQuestion("/metrics", port: port).body } }
                }
                for try await body in group { #expect(body.contains("moe_run_step{run=\"shakespeare\"} 20\n")) }
            }
            _ = try await coordinator.client().send(Samples.finishRun())
            let body = try await blocking { try HTTPQuestion("/metrics", port: port).body }
            #expect(!body.contains("moe_run_step{"))
        }
    }

    @Test func runsThatEndAndGoAreNotToldOf() async throws {
        var limits = Limits()
        limits.endedRunTime = .zero
        try await LiveCoordinator.run(limits: limits, http: true) { coordinator in
            let client = try await coordinator.client()
            let port = coordinator.httpPort
            func runs() async throws -> Set<String> {
                let body = try await blocking { try HTTPQuestion("/metrics", port: port).body }
                return Set(body.matches(of: /run="([^"]*)"/).map { String($0.1) })
            }
            for run in ["a", "b"] { try await Self.train(client, run) }
            #expect(try await runs() == ["a", "b"])
            _ = try await client.send(Samples.finishRun("a"))
            #expect(try await runs() == ["b"])
            _ = try await client.send(Samples.finishRun("b"))
            _ = try await client.send(DeleteRun(run: "b", who: "ada", why: "old"))
            #expect(try await runs() == [])
            _ = try await client.send(Samples.registerRun("a", registration: "a2"))
            #expect(try await runs() == ["a"])
            // Without the database the coordinator still tells of itself.
            try await coordinator.store.queue.writeWithoutTransaction { db in
                try db.execute(sql: "ALTER TABLE runs RENAME TO gone")
            }
            #expect(try await runs() == [])
            let body = try await blocking { try HTTPQuestion("/metrics", port: port).body }
            #expect(body.contains("moe_coordinator_connections 1\n"))
        }
    }

    @Test func runsAreFew() async throws {
        var limits = Limits()
        limits.meteredRuns = 2
        try await LiveCoordinator.run(limits: limits, http: true) { coordinator in
            let client = try await coordinator.client()
            for run in ["a", "b", "c"] { _ = try await client.send(Samples.registerRun(run)) }
            let port = coordinator.httpPort
            let body = try await blocking { try HTTPQuestion("/metrics", port: port).body }
            #expect(Set(body.matches(of: /run="([^"]*)"/).map { String($0.1) }) == ["b", "c"])
            #expect(body.contains("moe_coordinator_running_runs 3\n"))
        }
    }

    @Test func theTokenIsNeeded() async throws {
        let token = BearerToken(Array("0123456789abcdef".utf8))
        try await LiveCoordinator.run(http: true, token: token) { coordinator in
            let port = coordinator.httpPort
            try await blocking {
                let refusal = try HTTPQuestion("/metrics", port: port)
                let headers = ["Authorization: Bearer 0123456789abcdef"]
                let answer = try HTTPQuestion("/metrics", port: port, headers: headers)
                #expect(refusal.status == 401 && answer.status == 200)
            }
        }
    }

    @Test func alertsComeWhenTheyShould() throws {
        for (arguments, file) in [
            (["check", "rules"], "alerts.yml"), (["check", "config"], "prometheus.yml"),
            (["test", "rules"], "alerts_test.yml"),
        ] {
            let result = try Self.run("promtool", arguments + [Self.prometheus.appending(path: file).path])
            #expect(result.0 == 0, "\(result.1)")
        }
        // The canary: none of the alerts waits for anything any more.
        let folder = try TemporaryFolder()
        for file in ["alerts.yml", "alerts_test.yml"] {
            let text = try String(contentsOf: Self.prometheus.appending(path: file), encoding: .utf8)
            try text.replacing(/\s+for: \d+m/, with: "").write(
                toFile: folder.path(file), atomically: true, encoding: .utf8)
        }
        #expect(try Self.run("promtool", ["test", "rules", folder.path("alerts_test.yml")]).0 != 0)
        // Each of them is tested.
        let alerts = try String(contentsOf: Self.prometheus.appending(path: "alerts.yml"), encoding: .utf8)
            .matches(of: /alert: (\w+)/).map { String($0.1) }
        let tests = try String(contentsOf: Self.prometheus.appending(path: "alerts_test.yml"), encoding: .utf8)
        #expect(alerts.count == 14)
        for alert in alerts { #expect(tests.contains("alertname: \(alert)\n        exp_alerts:"), "\(alert)") }
    }

    /// Alerts and the dashboard ask for what there is.
    @Test func whatIsAskedForIsThere() async throws {
        let files = [
            "deploy/prometheus/alerts.yml", "deploy/prometheus/alerts_test.yml", "deploy/grafana/moe-training.json",
        ]
        try await LiveCoordinator.run(http: true) { coordinator in
            try await Self.train(coordinator.client())
            try await Self.disturb(coordinator)
            let port = coordinator.httpPort
            let body = try await blocking {
                _ = try HTTPQuestion("/nothing", port: port)
                return try HTTPQuestion("/metrics", port: port).body
            }
            let names = Set(body.matches(of: /(?m)^[a-z_]+/).map { String($0.output) })
            for file in files {
                let text = try String(contentsOf: Repository.root.appending(path: file), encoding: .utf8)
                let asked = Set(text.matches(of: /moe_(?:coordinator|run)_[a-z_]+/).map { String($0.output) })
                #expect(asked.count > 5)
                #expect(asked.subtracting(names) == [], "\(file)")
                if file.hasSuffix(".json") {
                    _ = try JSONValue(Data(text.utf8))
                    // Nothing is told that nobody sees.
                    let shown = asked.map { $0.replacing(/_(bucket|sum|count)$/, with: "") }
                    let told = names.map { $0.replacing(/_(bucket|sum|count)$/, with: "") }
                    #expect(Set(told).subtracting(shown) == [])
                }
            }
        }
    }

    /// Grafana asks every 15 seconds at whole multiples of them, and Prometheus reads every 15 seconds at some other time.
    @Test func theDashboardMarksAnotherPlan() throws {
        let dashboard = try String(
            contentsOf: Repository.root.appending(path: "deploy/grafana/moe-training.json"), encoding: .utf8)
        let annotation = dashboard.firstMatch(of: /"expr": "(changes\(moe_run_plan_revision.*)",/)?.output.1
        let expression = try #require(annotation).replacing("\\\"", with: "\"").replacing("$instance", with: ".*")
            .replacing("$run", with: ".*").replacing("$__interval", with: "15s")
        let folder = try TemporaryFolder()
        try """
        rule_files: []
        tests:
          - interval: 1s
            input_series:
              - series: moe_run_plan_revision{instance="a",run="r"}
                values: _x7 1 _x14 1 _x14 1 _x14 2 _x14 2
            promql_expr_test:
              - expr: 'max_over_time((\(expression))[2m:15s])'
                eval_time: 2m
                exp_samples: [{labels: '{instance="a",run="r"}', value: 1}]
        """.write(toFile: folder.path("annotation_test.yml"), atomically: true, encoding: .utf8)
        let result = try Self.run("promtool", ["test", "rules", folder.path("annotation_test.yml")])
        #expect(result.0 == 0, "\(result.1)")
    }

    @Test func aRealPrometheusReadsThem() async throws {
        try await LiveCoordinator.run(http: true) { coordinator in
            try await Self.train(coordinator.client())
            let target = "127.0.0.1:\(coordinator.httpPort ?? 0)"
            let client = try await coordinator.client()
            let server = try PrometheusServer(reading: target, configuration: Self.prometheus)
            #expect(try await server.value(of: "up{job=\"moe-coordinator\"}") { $0 == 1 } == 1)
            #expect(try await server.value(of: "moe_run_loss{run=\"shakespeare\"}") { $0 == 2.5 } == 2.5)
            let phase = "sum(moe_run_phase_seconds{run=\"shakespeare\",phase=~\"experts|dispatch\"})"
            #expect(abs(try await server.value(of: phase) { _ in true } - 0.0375) < 1e-12)
            let median = "histogram_quantile(0.5, moe_coordinator_commit_seconds_bucket)"
            #expect(try await server.value(of: median) { _ in true } > 0)
            _ = try await client.send(
                Samples.report(sequence: 2, sample: Samples.sample(firstStep: 21, loss: 1.25)))
            #expect(try await server.value(of: "moe_run_loss") { $0 == 1.25 } == 1.25)
            // The series of a run that has ended ends, too.
            _ = try await client.send(Samples.finishRun())
            #expect(try await server.value(of: "count(moe_run_loss) or vector(0)") { $0 == 0 } == 0)
        }
    }
}
