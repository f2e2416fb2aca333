import ControlProtocol
import ControlTestSupport
import CoordinatorService
import Foundation
import GRDB
import SQLiteFaults
import TestSupport
import Testing

struct HTTPTests {
    @Test func tellsThatItLivesIsReadyAndWhatItIs() async throws {
        try await LiveCoordinator.run(http: true) { coordinator in
            let port = coordinator.httpPort
            try await blocking {
                let live = try HTTPQuestion("/livez", port: port)
                #expect((live.status, live.body) == (200, "ok\n"))
                #expect(live.head.contains("Content-Length: 3") && live.head.contains("Connection: close"))
                let stamp = try #require(live.head.firstMatch(of: /Date: (.*?)\r\n/)).1
                let dates = DateFormatter()
                dates.locale = Locale(identifier: "en_US_POSIX")
                dates.timeZone = .gmt
                dates.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
                let date = try #require(dates.date(from: String(stamp)), "\(stamp)")
                #expect(dates.string(from: date) == stamp && abs(date.timeIntervalSinceNow) < 60)
                let ready = try HTTPQuestion("/readyz", port: port)
                #expect((ready.status, ready.body) == (200, "ok\n"))
                let verbose = try HTTPQuestion("/readyz?verbose", port: port)
                let names = ["database-readable", "database-writable", "disk-space", "listener", "queue", "planning"]
                let lines = names.map { "[+]\($0) ok\n" }.joined()
                #expect((verbose.status, verbose.body) == (200, lines + "readyz check passed\n"))
                let version = try HTTPQuestion("/version", port: port)
                let fields = try JSONValue(Data(version.body.utf8))
                #expect(fields["version"] == .string(CoordinatorVersion.current.version))
                #expect(fields["protocol_version"] == .integer(ControlProtocolVersion.current))
                #expect(fields["schema_version"]?.number ?? 0 >= 2)
                if let commit = fields["commit"]?.text { #expect(commit.count >= 40) }
                let head = try HTTPQuestion("/livez", port: port, method: "HEAD")
                #expect((head.status, head.body) == (200, ""))
                #expect(head.head.contains("Content-Length: 3"))
            }
        }
    }

    @Test func whatIsWrongHasAName() async throws {
        var limits = Limits()
        limits.freeDiskBytes = .max
        limits.connections = 1
        limits.queuedChanges = 0
        let disk = FaultyDisk()
        try await LiveCoordinator.run(limits: limits, database: disk.path, http: true) { coordinator in
            let port = coordinator.httpPort
            let client = try await coordinator.client()
            _ = try await client.send(ListRuns())
            try await coordinator.store.queue.writeWithoutTransaction { db in
                try db.execute(sql: "ALTER TABLE runs RENAME TO gone")
                disk.fail(FAULTY_FULL, from: 0)
            }
            try await blocking {
                let answer = try HTTPQuestion("/readyz", port: port)
                #expect(answer.status == 503)
                for name in ["database-readable", "database-writable", "disk-space", "listener", "queue"] {
                    #expect(answer.body.contains("[-]\(name) failed: "), "\(answer.body)")
                }
                #expect(answer.body.contains("[+]planning ok\n"))
                #expect(answer.body.hasSuffix("readyz check failed\n"))
                // It lives nevertheless: starting it again would not help.
                #expect(try HTTPQuestion("/livez", port: port).status == 200)
            }
            try await coordinator.store.queue.writeWithoutTransaction { _ in disk.heal() }
            let body = try await blocking { try HTTPQuestion("/readyz", port: port).body }
            #expect(body.contains("[+]database-writable ok"))
        }
    }

    /// A database that hangs is not waited for, by however many.
    @Test func aDatabaseThatHangsIsNotWaitedFor() async throws {
        var limits = Limits()
        limits.healthCheckTime = .milliseconds(100)
        try await LiveCoordinator.run(limits: limits, http: true) { coordinator in
            let port = coordinator.httpPort
            try await coordinator.whileItsDatabaseHangs {
                for _ in 0..<3 {
                    let answer = try HTTPQuestion("/readyz", port: port)
                    #expect(answer.status == 503)
                    #expect(answer.body.contains("[-]database-writable failed: the database did not answer within"))
                }
            }
            try await blocking {
                try eventually("it is ready again") { try HTTPQuestion("/readyz", port: port).status == 200 }
            }
        }
    }

    @Test func nothingElseIsAnswered() async throws {
        try await LiveCoordinator.run(http: true) { coordinator in
            let port = coordinator.httpPort
            try await blocking {
                #expect(try HTTPQuestion("/nothing", port: port).status == 404)
                #expect(try HTTPQuestion("/livez/../etc/passwd", port: port).status == 404)
                let post = try HTTPQuestion("/livez", port: port, method: "POST")
                #expect(post.status == 405)
                #expect(post.head.contains("Allow: GET, HEAD"))
                for raw in [
                    "\r\n\r\n", "GET\r\n\r\n", "GET /livez\r\n\r\n", "GET /livez HTTP/2\r\n\r\n",
                    " /livez HTTP/1.1\r\n\r\n",
                    "GET livez HTTP/1.1\r\n\r\n", "GET /livez HTTP/1.1\r\n: x\r\n\r\n",
                    "GET /livez HTTP/1.1\r\nx\r\n\r\n",
                    "\u{0}\u{1}\u{2}\r\n\r\n", "GET  /livez HTTP/1.1\r\n\r\n",
                ] {
                    let answer = try HTTPQuestion("", port: port, raw: raw)
                    #expect(answer.status == 400, "\(raw.debugDescription)")
                    #expect(try JSONValue(Data(answer.body.utf8))["code"] == "bad_request", "\(answer.body)")
                }
                for target in [
                    "/%", "/%00", "//", "//livez", "/?%", "/[", "/livez?\u{1}=\u{7F}", "/livez#x", "/\u{FFFD}",
                ] {
                    #expect([200, 404].contains(try HTTPQuestion(target, port: port).status), "\(target)")
                }
            }
        }
    }

    @Test func requestsAndConnectionsHaveLimits() async throws {
        var limits = Limits()
        limits.httpConnections = 2
        limits.httpTime = .milliseconds(300)
        try await LiveCoordinator.run(limits: limits, http: true) { coordinator in
            let port = coordinator.httpPort
            try await blocking {
                let bytes = Limits.standard.httpRequestBytes
                let long = "GET /livez HTTP/1.1\r\nX: " + String(repeating: "x", count: bytes)
                let tooLong = try HTTPQuestion("", port: port, raw: long)
                #expect(tooLong.status == 431)
                #expect(try JSONValue(Data(tooLong.body.utf8))["code"] == "limit_exceeded", "\(tooLong.body)")
                let justRight = long.prefix(bytes - 1) + "\r\n\r\n"
                #expect(try HTTPQuestion("", port: port, raw: String(justRight)).status == 200)
                let slow = try (0..<2).map { _ in try PlainClient(port: port ?? 0) }
                for client in slow { try client.send(Data("GET /livez HTTP/1.1\r\n".utf8)) }
                let third = try HTTPQuestion("/livez", port: port)
                #expect(third.status == 503)
                #expect(third.body.contains("HTTP connections") && !third.head.contains("Date: "))
                #expect(try JSONValue(Data(third.body.utf8))["code"] == "overloaded", "\(third.body)")
                // Bytes that keep coming do not prolong their time. All of them would be fewer than a request may have.
                let line = Data("X: x\r\n".utf8)
                for client in slow {
                    let end = #expect(throws: PlainClient.Failed.self) {
                        for _ in 0..<bytes / 2 / line.count {
                            try client.send(line)
                            usleep(20_000)
                        }
                    }
                    #expect(end?.isTimeout == false)
                }
                try eventually("there is room again") { try HTTPQuestion("/livez", port: port).status == 200 }
            }
        }
    }

    @Test func withATokenOnlyWhoHasItIsAnswered() async throws {
        let token = BearerToken(Array("0123456789abcdef".utf8))
        try await LiveCoordinator.run(http: true, token: token) { coordinator in
            let port = coordinator.httpPort
            try await blocking {
                for authorization in [
                    nil, "", "0123456789abcdef", "Bearer", "Bearer ", "Bearer 0123456789abcde",
                    "Basic 0123456789abcdef",
                    "Bearer 0123456789abcdef0", "Bearer 0123456789abcdeg", "Bearer 0123456789abcdef0123456789abcdef",
                ] {
                    for path in ["/livez", "/readyz", "/version", "/nothing"] {
                        let answer = try HTTPQuestion(
                            path, port: port, headers: authorization.map { ["Authorization: \($0)"] } ?? [])
                        #expect(answer.status == 401, "\(authorization ?? "nothing")")
                        #expect(answer.head.contains("WWW-Authenticate: Bearer"))
                    }
                }
                for scheme in ["Bearer", "bearer"] {
                    let answer = try HTTPQuestion(
                        "/livez", port: port, headers: ["authorization: \(scheme) 0123456789abcdef"])
                    #expect(answer.status == 200)
                }
            }
        }
    }

    @Test func tokenFilesMustBePrivate() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("token")
        func write(_ text: String, mode: mode_t) throws {
            try Data(text.utf8).write(to: URL(fileURLWithPath: path))
            chmod(path, mode)
        }
        try write("0123456789abcdef\n", mode: 0o600)
        #expect(try BearerToken(file: path).isIn("Bearer 0123456789abcdef"))
        try write(" 0123456789abcdef\r\n", mode: 0o400)
        #expect(try BearerToken(file: path).isIn("Bearer 0123456789abcdef"))
        for (text, mode, reason) in [
            ("0123456789abcdef", 0o640, "chmod 600"), ("0123456789abcdef", 0o604, "chmod 600"),
            ("0123456789abcdef", 0o622, "chmod 600"), ("short", 0o600, "16 to 1024"), ("", 0o600, "16 to 1024"),
            ("0123456789 abcdef", 0o600, "visible"), (String(repeating: "x", count: 5_000), 0o600, "too long"),
        ] as [(String, mode_t, String)] {
            try write(text, mode: mode)
            #expect { try BearerToken(file: path) } throws: {
                "\($0)".contains(reason) && !"\($0)".contains("0123456789")
            }
        }
        #expect { try BearerToken(file: folder.path("none")) } throws: { "\($0)".contains("No such file") }
        #expect { try BearerToken(file: folder.url.path) } throws: { "\($0)".contains("no file") }
    }

    @Test func programsShareTheDefaultPortAndObeyOthers() throws {
        let folder = try TemporaryFolder()
        let token = folder.path("token")
        #expect(
            FileManager.default.createFile(
                atPath: token, contents: Data("0123456789abcdef".utf8), attributes: [.posixPermissions: 0o600]))
        func serve(_ name: String, _ more: String...) -> [String] {
            ["serve", "--database", folder.path(name), "--listen", "127.0.0.1:0"] + more
        }
        // Whoever has the default port, both start.
        let first = try CoordinatorProgram(serve("1.db"))
        let second = try CoordinatorProgram(serve("2.db"))
        #expect(second.httpPort == 0)
        #expect(second.output.contains("no health over HTTP; name another address with --http"))
        let third = try CoordinatorProgram(serve("3.db", "--http", "127.0.0.1:0", "--http-token-file", token))
        #expect(try HTTPQuestion("/livez", port: third.httpPort).status == 401)
        let authorization = ["Authorization: Bearer 0123456789abcdef"]
        #expect(try HTTPQuestion("/readyz", port: third.httpPort, headers: authorization).status == 200)
        let fourth = try CoordinatorProgram(serve("4.db", "--http", "none"))
        #expect(!fourth.output.contains("HTTP") && !fourth.output.contains("health"))
        for (arguments, status, text) in [
            (["--http", "127.0.0.1:\(third.httpPort)"], 1, "the port is in use"),
            (["--http", "0.0.0.0:0"], 1, "--http-token-file FILE"), (["--http", "7780"], 64, "--http: "),
            (["--http-token-file", folder.path("none")], 1, "No such file"),
        ] as [([String], Int32, String)] {
            let result = try CoordinatorProgram.run(serve("5.db") + arguments)
            #expect(result.status == status)
            #expect(result.output.contains(text), "\(result.output)")
        }
        for program in [first, second, third, fourth] { #expect(program.end(SIGTERM).status == 0) }
    }
}
