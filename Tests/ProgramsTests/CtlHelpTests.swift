import Foundation
import Testing

/// Every help page is as recorded.
@Suite struct CtlHelpTests {
    @Test(arguments: [
        [], ["data"], ["data", "prepare"], ["run"], ["run", "list"], ["run", "show"], ["run", "plot"],
        ["run", "archive"],
        ["run", "delete"], ["placement"],
        ["placement", "show"], ["placement", "history"], ["placement", "diff"], ["placement", "plan"],
        ["placement", "apply"], ["placement", "rollback"], ["placement", "pin"], ["placement", "unpin"],
        ["placement", "freeze"], ["placement", "unfreeze"], ["worker"], ["worker", "list"], ["event"],
        ["event", "list"], ["watch"], ["database"],
        ["checkpoint"], ["checkpoint", "list"], ["checkpoint", "verify"], ["checkpoint", "export"],
        ["database", "backup"], ["key"], ["key", "generate"], ["trace"], ["trace", "record"], ["trace", "import"],
        ["trace", "generate"],
        ["simulate"], ["model"], ["model", "upcycle"],
    ])
    func helpPage(command: [String]) throws {
        let page = try CtlProgram(command + ["--help"])
        #expect(page.status == 0)
        #expect(page.errors.isEmpty)
        try expectGolden(page.output, "help/" + (["moe-ctl"] + command).joined(separator: "-") + ".txt")
    }

    /// The manual has every command as it is, and examples as they come out.
    @Test func theManualIsUpToDate() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let manual = try String(contentsOf: root.appendingPathComponent("docs/moe-ctl.md"), encoding: .utf8)
        let golden = root.appendingPathComponent("Tests/golden/moe-ctl")
        let withTables = [
            "run-list", "run-show", "placement-show", "placement-history", "placement-diff", "worker-list",
            "event-list",
        ]
        let others = [
            "data-prepare", "placement-plan", "placement-apply", "placement-rollback", "placement-pin",
            "placement-unpin", "placement-freeze", "placement-unfreeze", "run-archive", "run-delete", "database-backup",
            "key-generate", "run-plot", "watch", "checkpoint-list", "checkpoint-verify", "checkpoint-export",
            "trace-record", "trace-import", "trace-generate", "simulate", "model-upcycle",
        ]
        for command in withTables + others {
            let page = try String(
                contentsOf: golden.appendingPathComponent("help/moe-ctl-\(command).txt"), encoding: .utf8)
            let usage = try #require(page.split(separator: "\n").first { $0.hasPrefix("USAGE: ") })
            #expect(manual.contains("\n    \(usage.dropFirst("USAGE: ".count))\n"), "\(command)")
        }
        let tables = [
            "placement-plan-loads", "placement-plan-dry-run", "placement-apply-dry-run", "placement-pin-1.0-1-2.3",
            "checkpoint-list", "run-archive-first-try", "run-delete-first-try-dry-run", "database-backup-monday.db",
            "trace-generate", "simulate", "model-upcycle-dry-run",
        ]
        for name in withTables + tables {
            let table = try String(contentsOf: golden.appendingPathComponent("output/\(name).txt"), encoding: .utf8)
            #expect(manual.contains("\n\(table)```\n"), "\(name)")
        }
    }
}
