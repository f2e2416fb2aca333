import Foundation
import TestSupport
import Testing

/// `moe-ctl simulate --config`: policies that are programs, as the coordinator's configuration file names them.
@Suite struct CtlProgramPolicyTests {
    private let directory: URL

    init() throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("policies-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    }

    private func path(_ name: String) -> String { directory.appendingPathComponent(name).path }

    /// A configuration file as a coordinator has it, and a trace.
    private func question(_ programs: String) throws -> [String] {
        try Data("database: moe.db\nallocators:\n\(programs)".utf8).write(to: URL(fileURLWithPath: path("moe.yaml")))
        let trace = try CtlProgram([
            "trace", "generate", "--pattern", "zipf", "--exponent", "1.5", "--layers", "2", "--experts", "8",
            "--intervals", "4", "--tokens", "512", "--width", "64", "--hidden-size", "32", "-o", path("trace.jsonl"),
        ])
        #expect(trace.status == 0, "\(trace.errors)")
        return ["simulate", "--trace", path("trace.jsonl"), "--ranks", "4", "--config", path("moe.yaml")]
    }

    private struct Report: Decodable {
        struct Policy: Decodable {
            struct Totals: Decodable { var plans: Int, meanBalance: Double }
            var failure: String?
            var totals: Totals
        }
        var policies: [Policy]
    }

    @Test func aProgramIsJudgedBesideOthers() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let example = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("examples/least_loaded.py").path
        let question = try question(
            "  least-loaded: {command: [python3, '\(example)'], time_limit_seconds: 60, hysteresis: false}\n")
        let call = try CtlProgram(
            question + ["--policy", "expert-parallel", "--policy", "exec:least-loaded", "-o", "json"])
        #expect(call.status == 0 && call.errors.isEmpty, "\(call.errors)")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let policies = try decoder.decode(Report.self, from: Data(call.output.utf8)).policies
        #expect(policies.map(\.failure) == [nil, nil])
        #expect(policies[0].totals.plans == 0 && policies[1].totals.plans > 0)
        #expect(policies[1].totals.meanBalance > policies[0].totals.meanBalance)
    }

    /// Planning tells a program of less, to leave room for rows and moves, here none; what its plan has to keep are the ranks' limits.
    @Test func aPlanMayTakeAllOfTheRanksMemory() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let mesh = #"{"data_parallel": 1, "tensor_parallel": 1, "ranks": [1]}"#
        let experts = [String](repeating: #"{"width": 64, "mesh": \#(mesh)}"#, count: 8).joined(separator: ", ")
        let layer = #"{"experts": [\#(experts)]}"#
        try Data(#"{"layers": [\#(layer), \#(layer)]}"#.utf8).write(to: URL(fileURLWithPath: path("answer.json")))
        let question = try question("  crowded: {command: [cat, '\(path("answer.json"))'], time_limit_seconds: 60}\n")
        // All experts together take more than 0.9 MB, and a rank's share of them less than 0.4 MB.
        for (limit, fits) in [(10_000_000, true), (500_000, false)] {
            let call = try CtlProgram(
                question + ["--policy", "exec:crowded", "--memory-limit", "\(limit)", "-o", "json"])
            #expect(call.status == (fits ? 0 : 1), "\(call.errors)")
            #expect(call.errors.contains("over its limit of " + (fits ? "" : "500000")) == !fits, "\(call.errors)")
        }
    }

    /// What a policy did until it failed is not comparable with whole runs of others.
    @Test func aFailureLeavesNoNumbers() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let question = try question("  broken: {command: [sh, -c, 'echo out of ideas >&2; exit 3']}\n")
        for more in [[], ["--ranks", "2"]] {
            let call = try CtlProgram(question + ["--policy", "expert-parallel", "--policy", "exec:broken"] + more)
            #expect(call.status == 0, "\(call.errors)")
            #expect(
                call.errors.contains("step 1: exec:broken: it exited with 3; it wrote: out of ideas"), "\(call.errors)")
            let rows = call.output.split(separator: "\n").filter { $0.contains("exec:broken") }
            #expect(rows.count == 1 + more.count / 2)
            for row in rows { #expect(!row.contains(" ms") && row.hasSuffix(" -"), "\(row)") }
            #expect(call.output.contains("40 steps in 4 intervals"), "\(call.output)")
        }
    }

    @Test func mistakesAreNamed() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let question = try question("  mine: {command: [cat]}\n")
        let without = try CtlProgram(Array(question.dropLast(2)) + ["--policy", "exec:mine"])
        #expect(without.status == 64 && without.errors.contains("give that file as --config"), "\(without.errors)")
        let unknown = try CtlProgram(question + ["--policy", "exec:yours"])
        #expect(unknown.status == 64 && unknown.errors.contains("known are exec:mine"), "\(unknown.errors)")
        let broken = try self.question("  mine: 5\n")
        let call = try CtlProgram(broken + ["--policy", "eplb"])
        #expect(call.status == 64 && call.errors.contains("moe.yaml: allocators.mine"), "\(call.errors)")
    }

    @Test(.timeLimit(.minutes(2))) func anInterruptEndsTheProgramToo() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let started = path("started")
        let question = try question(
            "  slow: {command: [sh, -c, 'echo $$ > \"\(started)\"; exec sleep 1000'], time_limit_seconds: 600}\n")
        let simulation = try RunningProgram("moe-ctl", question + ["--policy", "exec:slow"])
        var text = ""
        try eventually("the policy's program wrote its number") {
            text = (try? String(contentsOfFile: started, encoding: .utf8)) ?? ""
            // One that ended does not start it any more.
            try #require(text.hasSuffix("\n") || simulation.isRunning, "moe-ctl has ended")
            return text.hasSuffix("\n")
        }
        let program = try #require(Int32(text.trimmingCharacters(in: .whitespacesAndNewlines)))
        simulation.send(SIGINT)
        #expect(simulation.waitForEnd() == 1 && simulation.text.contains("Error: interrupted"), "\(simulation.text)")
        #expect(kill(program, 0) == -1)
    }
}
