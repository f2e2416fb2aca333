import ControlProtocol
import ControlTestSupport
import CoordinatorService
import ExpertPlacement
import Foundation
import TestSupport
import Testing

/// The HTTP API beside the control protocol, which answers the same.
struct APITests {
    private static let checker = Repository.root.appending(path: "Tests/CoordinatorServiceTests/openapi_check.py").path

    private static func run(_ program: String, _ arguments: [String], input: String = "") throws -> (Int32, String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
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

    /// A run of two ranks with two plans, reports, and a checkpoint.
    private func train(_ client: ControlClient, _ run: String = "shakespeare") async throws {
        _ = try await client.send(Samples.registerRun(run))
        for rank in 0..<2 { _ = try await client.send(Samples.registerWorker(run, rank: rank)) }
        for sequence in 1...3 {
            for rank in 0..<2 {
                var sample = Samples.sample(
                    firstStep: 10 * sequence, loads: rank == 0 ? [[1, 2, 3], [4, 5, 6]] : nil)
                sample.loss = rank == 0 ? 2.5 : nil
                sample.expertWork = 7
                _ = try await client.send(Samples.report(run, rank: rank, sequence: sequence, sample: sample))
            }
        }
        _ = try await client.send(
            ProposePlacement(run: run, plan: try Samples.shiftedPlan(by: 1), who: "ada", why: "a test"))
        let switches = [LayerSwitch(layer: 1, step: 40), LayerSwitch(layer: 0, step: 40)]
        _ = try await client.send(Samples.progress(.accepted, run: run, step: 40))
        _ = try await client.send(Samples.progress(.applied, run: run, step: 40, switched: switches))
        _ = try await client.send(
            RecordCheckpoint(run: run, incarnation: 1, step: 30, path: "/data/30", bytes: 100, seconds: 0.5))
    }

    @Test func theDescriptionIsTheOneRecorded() throws {
        let actual = try OpenAPIDescription().text
        #expect(try Repository.golden(Repository.schemas.appending(path: "openapi.json"), actual: actual) == actual)
    }

    /// By validators that are not of this project.
    @Test func answersAreAsDescribed() async throws {
        let setUp = try Self.run("/bin/sh", [Repository.root.appending(path: "deploy/python.sh").path])
        try #require(setUp.0 == 0, "\(setUp.1)")
        let targets = [
            ("/runs", "200 runs"), ("/runs?all=true", "200 runs"), ("/runs/shakespeare", "200 run"),
            ("/runs/shakespeare/workers", "200 workers"), ("/runs/shakespeare/plans?limit=1", "200 plans"),
            ("/runs/shakespeare/placement", "200 placement"),
            ("/runs/shakespeare/placement?revision=1&layer=1", "200 placement"),
            ("/runs/shakespeare/checkpoints", "200 checkpoints"), ("/runs/shakespeare/events?after=0", "200 events"),
            ("/runs/shakespeare/intervals", "200 intervals"),
            ("/runs/shakespeare/intervals?after=1&limit=1", "200 intervals"),
            ("/runs/shakespeare/loads", "200 loads"), ("/runs/shakespeare/timings", "200 timings"),
            ("/runs/shakespeare/timings?first_step=10", "200 timings"), ("/runs/nobody", "404 error"),
            ("/live", "200 runs_change"), ("/runs/shakespeare/live", "200 change"), ("/runs/nobody/live", "404 error"),
            ("/runs/shakespeare/live?after=1", "400 error"),
            ("/runs/shakespeare/timings?first_step=11", "404 error"), ("/runs/shakespeare/loads?after=x", "400 error"),
            ("/runs/shakespeare/placement?layer=7", "404 error"), ("/nothing", "404 error"),
        ]
        let folder = try TemporaryFolder()
        let description = Repository.schemas.appending(path: "openapi.json")
        // The canary: a description that asks for more than there is.
        let strict = try String(contentsOf: description, encoding: .utf8).replacingOccurrences(
            of: "\"plan_revision\"", with: "\"plan_rev\"")
        try strict.write(toFile: folder.path("strict.json"), atomically: true, encoding: .utf8)
        try await LiveCoordinator.run(http: true) { coordinator in
            try await train(coordinator.client())
            let url = "http://127.0.0.1:\(coordinator.httpPort ?? 0)"
            let input = targets.map { "/api/v1\($0.0)\n" }.joined()
            try await blocking {
                let python = Repository.root.appending(path: ".venv/bin/python").path
                let result = try Self.run(python, [Self.checker, description.path, url], input: input)
                #expect(result.0 == 0, "\(result.1)")
                #expect(result.1.split(separator: "\n").map(String.init) == targets.map(\.1))
                let canary = try Self.run(python, [Self.checker, folder.path("strict.json"), url], input: input)
                #expect(canary.0 != 0 && canary.1.contains("plan_rev"), "\(canary.1)")
            }
        }
    }

    /// The same questions get the same answers, whichever way they are asked.
    @Test func itAnswersWhatTheControlProtocolAnswers() async throws {
        try await LiveCoordinator.run(http: true) { coordinator in
            let client = try await coordinator.client()
            try await train(client)
            try await train(client, "a:b+c@d")
            let run = "a:b+c@d"
            let questions: [(String, any ControlRequest)] = [
                ("", ShowRun(run: run)), ("/workers", ListWorkers(run: run)), ("/plans", ListPlans(run: run)),
                ("/plans?limit=1", ListPlans(run: run, limit: 1)), ("/placement", ShowPlacement(run: run)),
                ("/placement?layer=1&revision=1", ShowPlacement(run: run, layer: 1, revision: 1)),
                ("/checkpoints", ListCheckpoints(run: run)), ("/events", ListEvents(run: run)),
                ("/intervals?after=2", ListIntervals(run: run, after: 2)),
                ("/loads?limit=2", ListLoads(run: run, limit: 2)), ("/timings", ShowTimings(run: run)),
                ("/timings?first_step=20", ShowTimings(run: run, firstStep: 20)),
                ("/timings?first_step=21", ShowTimings(run: run, firstStep: 21)),
                ("/placement?revision=9", ShowPlacement(run: run, revision: 9)),
            ]
            let (port, httpPort) = (coordinator.port, coordinator.httpPort)
            try await blocking {
                let plain = try PlainClient(port: port)
                for name in [run, "a%3Ab%2Bc%40d"] {
                    for (path, request) in questions {
                        var asked = try plain.ask(request)
                        asked["request_id"] = nil
                        let answer = try HTTPQuestion("/api/v1/runs/\(name)\(path)", port: httpPort)
                        #expect(try JSONValue(Data(answer.body.utf8)) == asked, "\(path)")
                        #expect(answer.status == (asked["type"] == "error" ? 404 : 200), "\(path)")
                        #expect(answer.head.contains("Content-Type: application/json"))
                    }
                }
                for (path, request) in [("?all=true", ListRuns(all: true)), ("", ListRuns())] {
                    var asked = try plain.ask(request)
                    asked["request_id"] = nil
                    let answer = try HTTPQuestion("/api/v1/runs\(path)", port: httpPort)
                    #expect(try JSONValue(Data(answer.body.utf8)) == asked)
                }
                let head = try HTTPQuestion("/api/v1/runs", port: httpPort, method: "HEAD")
                #expect(head.status == 200 && head.body.isEmpty)
            }
        }
    }

    @Test func badQuestionsAreRefusedWithAReason() async throws {
        try await LiveCoordinator.run(http: true) { coordinator in
            let client = try await coordinator.client()
            _ = try await client.send(Samples.registerRun())
            let port = coordinator.httpPort
            try await blocking {
                for (target, status, reason) in [
                    ("/runs/shakespeare/plans?limit=0", 400, "limit"),
                    ("/runs/shakespeare/plans?limit=-1", 400, "limit"),
                    ("/runs/shakespeare/plans?limit=", 400, "limit"), ("/runs/shakespeare/plans?limit", 400, "limit"),
                    ("/runs/shakespeare/plans?limit=1e3", 400, "limit"),
                    ("/runs/shakespeare/plans?limit=99999999999999999999", 400, "limit"),
                    ("/runs/shakespeare/plans?limit=999999999999999999", 400, "limit"),
                    ("/runs/shakespeare/plans?limit=1&limit=2", 400, "limit is given twice"),
                    ("/runs/shakespeare/plans?lim=1", 400, "\\\"lim\\\""),
                    ("/runs/shakespeare/plans?%00=1", 400, "parameter"),
                    ("/runs/shakespeare/plans?=1", 400, "parameter"), ("/runs?all=yes", 400, "all"),
                    ("/runs/%", 400, "percent"), ("/runs/%FF", 400, "percent"), ("/runs/%00", 400, "run"),
                    ("/runs/-x", 400, "run"), ("/runs/\(String(repeating: "x", count: 200))", 400, "128"),
                    ("/runs/%2e%2e", 400, "run"), ("/runs/a%2Fb", 400, "run"), ("/runs/\u{FC}", 400, "run"),
                    ("/runs/..", 400, "run"), ("/runs/../runs", 404, "path"), ("/runs/", 404, "path"),
                    ("", 404, "path"), ("/", 404, "path"), ("/runs//plans", 404, "path"), ("/{run}", 404, "path"),
                    ("/runs/shakespeare/secrets", 404, "path"), ("/RUNS", 404, "path"),
                    ("/runs/shakespeare/placement?layer=2", 404, "layer 2"),
                    ("/runs/shakespeare/placement?revision=0", 400, "revision"),
                    ("/runs/shakespeare/timings", 404, "no reports yet"), ("/runs/nobody/loads", 404, "nobody"),
                ] {
                    let answer = try HTTPQuestion("/api/v1\(target)", port: port)
                    #expect(answer.status == status, "\(target): \(answer.body)")
                    let body = try JSONValue(Data(answer.body.utf8))
                    #expect(body["type"] == "error" && body["code"]?.text != nil, "\(target)")
                    #expect(answer.body.contains(reason), "\(target): \(answer.body)")
                }
                let post = try HTTPQuestion("/api/v1/runs", port: port, method: "POST")
                #expect(post.status == 405 && post.head.contains("Allow: GET, HEAD"))
                #expect(try JSONValue(Data(post.body.utf8))["type"] == "error")
            }
        }
    }

    /// Nothing traps, whatever comes.
    @Test func noiseIsAnswered() async throws {
        let seed = TestRuns.seed()
        try await LiveCoordinator.run(http: true) { coordinator in
            _ = try await coordinator.client().send(Samples.registerRun())
            let port = coordinator.httpPort
            try await blocking {
                var random = SeededGenerator(seed: seed)
                let parts = [
                    "/api/v1", "/runs", "/shakespeare", "/plans", "/loads", "?", "&", "=", "limit", "after", "%", "%2",
                    "%FF",
                    "/", "..", "{run}", "1", "9", "-", "+", "#", ";", "\u{1}", "é", "/timings", "/placement",
                    "first_step",
                ]
                for _ in 0..<300 {
                    let count = Int.random(in: 1...8, using: &random)
                    let target = "/api/v1" + (0..<count).map { _ in parts.randomElement(using: &random) ?? "" }.joined()
                    let answer = try HTTPQuestion(target, port: port)
                    #expect([200, 400, 404].contains(answer.status), "seed \(seed): \(target)")
                    #expect(throws: Never.self) { try JSONValue(Data(answer.body.utf8)) }
                }
                #expect(try HTTPQuestion("/livez", port: port).status == 200)
            }
        }
    }

    @Test func withATokenOnlyThePageIsForAll() async throws {
        let token = BearerToken(Array("0123456789abcdef".utf8))
        try await LiveCoordinator.run(http: true, token: token) { coordinator in
            let port = coordinator.httpPort
            try await blocking {
                #expect(try HTTPQuestion("/", port: port).status == 200)
                for path in ["/api/v1/runs", "/api/v1/nothing", "/dashboard/nothing", "/livez"] {
                    let answer = try HTTPQuestion(path, port: port, headers: ["Authorization: Bearer wrong"])
                    #expect(answer.status == 401 && answer.head.contains("WWW-Authenticate: Bearer"), "\(path)")
                }
                let refusal = try JSONValue(Data(HTTPQuestion("/api/v1/runs", port: port).body.utf8))
                #expect(refusal["type"] == "error" && refusal["code"] == "unauthenticated")
                // Under any name: the token is what counts.
                let headers = ["Authorization: Bearer 0123456789abcdef", "Host: moe.example"]
                #expect(try HTTPQuestion("/api/v1/runs", port: port, headers: headers).status == 200)
            }
        }
    }

    /// Pages of other sites make browsers ask under the names of those sites.
    @Test func withoutATokenOnlyThisMachineIsAnswered() async throws {
        try await LiveCoordinator.run(http: true) { coordinator in
            let port = coordinator.httpPort
            try await blocking {
                for (host, status) in [
                    ("evil.example", 421), ("evil.example:80", 421), ("localhost.evil.example", 421), ("", 421),
                    ("127.0.0.1.evil.example", 421), ("127.evil.example", 421), ("[::1", 421), ("[::2]:80", 421),
                    ("localhost", 200), ("LOCALHOST:7780", 200), ("127.0.0.1:7780", 200), ("127.3.2.1", 200),
                    ("[::1]:7780", 200), ("moe.localhost", 200),
                ] {
                    for path in ["/", "/livez", "/api/v1/runs"] {
                        let raw = "GET \(path) HTTP/1.1\r\nHost: \(host)\r\n\r\n"
                        let answer = try HTTPQuestion("", port: port, raw: raw)
                        #expect(answer.status == status, "\(host)")
                    }
                }
            }
        }
    }

    @Test func thePageIsServedAndCached() async throws {
        try await LiveCoordinator.run(http: true) { coordinator in
            let port = coordinator.httpPort
            try await blocking {
                let folder = Repository.root.appending(path: "Sources/CoordinatorService/HTTP/Dashboard")
                let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
                #expect(names.contains("index.html"))
                let types = [
                    "html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8",
                    "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml",
                ]
                for name in names {
                    let file = folder.appending(path: name)
                    let answer = try HTTPQuestion("/dashboard/\(name)", port: port)
                    #expect(answer.status == 200, "\(name) is not served")
                    #expect(answer.body == (try String(contentsOf: file, encoding: .utf8)), "\(name)")
                    #expect(answer.head.contains("Content-Type: \(types[file.pathExtension] ?? "?")\r\n"), "\(name)")
                    for line in [
                        "Content-Security-Policy: default-src 'self'; ", "X-Content-Type-Options: nosniff",
                        "Referrer-Policy: no-referrer", "Cross-Origin-Resource-Policy: same-origin",
                        "Cross-Origin-Opener-Policy: same-origin", "Cache-Control: no-cache", "frame-ancestors 'none'",
                    ] { #expect(answer.head.contains(line), "\(name): \(line)") }
                    #expect(!answer.head.contains("unsafe"))
                    let tag = try #require(answer.head.firstMatch(of: /ETag: ("[0-9a-f]+")/)).1
                    for known in ["\(tag)", "\"x\", \(tag)", "*"] {
                        let again = try HTTPQuestion(
                            "/dashboard/\(name)", port: port, headers: ["If-None-Match: \(known)"])
                        #expect(again.status == 304 && again.body.isEmpty, "\(known)")
                        #expect(!again.head.contains("Content-Length"))
                    }
                    let other = try HTTPQuestion("/dashboard/\(name)", port: port, headers: ["If-None-Match: \"x\""])
                    #expect(other.status == 200)
                }
                let page = try HTTPQuestion("/", port: port)
                #expect(page.body == (try HTTPQuestion("/dashboard/index.html", port: port).body))
                for path in ["/dashboard", "/dashboard/", "/dashboard/../index.html", "/dashboard/x", "/index.html"] {
                    #expect(try HTTPQuestion(path, port: port).status == 404, "\(path)")
                }
                #expect(try HTTPQuestion("/", port: port, method: "PUT").status == 405)
            }
        }
    }
}

extension PlainClient {
    /// The answer to a request as it is written by the programs.
    fileprivate func ask(_ request: some ControlRequest) throws -> JSONValue {
        try send(MessageCodec.frame(request, requestID: 1))
        return try receive()
    }
}
