import ControlTestSupport
import Foundation
import Testing

/// A file system that is full for real, where one may be mounted; elsewhere `StorageFaultTests` and `FullDiskTests` stand for it.
@Suite(.enabled(if: CoordinatorProgram.canMount, "mounting a tmpfs is not allowed here"))
struct FullFileSystemTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    @Test func aFullFileSystemRefusesChangesServesReadsAndRecovers() throws {
        let config = folder.path("moe.yaml")
        let disk = folder.path("disk")
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
        try "backup_directory: \(disk)\n".write(toFile: config, atomically: true, encoding: .utf8)
        let program = try CoordinatorProgram(
            [
                "serve", "--database", disk + "/moe.db", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--config",
                config,
            ],
            smallFileSystem: disk, bytes: 4 << 20)
        let view = "/proc/\(program.process.processIdentifier)/root\(disk)"
        try Self.play(port: program.port, httpPort: program.httpPort, disk: view)
        let end = program.end(SIGTERM)
        #expect(end.reason == .exit && end.status == 0)
    }

    /// - Parameter disk: the way to the coordinator's file system from outside.
    private static func play(port: UInt16, httpPort: UInt16, disk: String) throws {
        let client = try PlainClient(port: port)
        try ProgramTests.register(port: port)
        var acknowledged = 0
        /// - Returns: the code of the refusal.
        func report() throws -> JSONValue? {
            let answer = try client.ask("report", ProgramTests.report(rank: 0, sequence: acknowledged + 1))
            if answer["type"] == "acknowledged" { acknowledged += 1 }
            return answer["code"]
        }
        for _ in 0..<20 { #expect(try report() == nil) }
        let names = try FileManager.default.contentsOfDirectory(atPath: disk).sorted()
        #expect(names == ["moe.db", "moe.db-wal"])

        fill(disk + "/filler")
        var refusal: JSONValue?
        for _ in 0..<100 where refusal == nil { refusal = try report() }
        #expect(refusal == "storage_unavailable")
        #expect(try client.ask("back_up_database", ["file": "one", "dry_run": false])["code"] == "storage_unavailable")
        #expect(try FileManager.default.contentsOfDirectory(atPath: disk).sorted() == ["filler"] + names)
        #expect(try client.ask("list_runs")["type"] == "runs")
        #expect(try client.ask("list_plans", ["run": "demo"])["type"] == "plans")
        #expect(try client.ask("show_placement", ["run": "demo"])["type"] == "placement")
        #expect(try client.ask("show_run", ["run": "demo"])["stored_reports"] == .integer(acknowledged))

        #expect(try HTTPQuestion("/livez", port: httpPort).status == 200)
        let full = try HTTPQuestion("/readyz", port: httpPort)
        #expect(full.status == 503 && full.body.contains("[-]disk-space failed"))
        #expect(full.body.contains("[+]database-readable ok"))

        unlink(disk + "/filler")
        for _ in 0..<20 { #expect(try report() == nil) }
        #expect(try client.ask("show_run", ["run": "demo"])["stored_reports"] == .integer(acknowledged))
        #expect(try HTTPQuestion("/readyz", port: httpPort).body.contains("[+]database-writable ok"))
        #expect(try client.ask("back_up_database", ["file": "one", "dry_run": false])["type"] == "database_backed_up")
    }

    /// Writes until not a byte more fits.
    private static func fill(_ path: String) {
        let descriptor = open(path, O_WRONLY | O_CREAT, 0o600)
        #expect(descriptor >= 0)
        defer { close(descriptor) }
        let zeros = [UInt8](repeating: 0, count: 4_096)
        while write(descriptor, zeros, zeros.count) > 0 {}
        #expect(errno == ENOSPC)
    }
}
