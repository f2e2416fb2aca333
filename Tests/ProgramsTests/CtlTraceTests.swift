import Foundation
import FoundationXML
import Testing

/// `moe-ctl trace` and `moe-ctl simulate`, which need no coordinator.
@Suite struct CtlTraceTests {
    private let directory: URL

    init() throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("trace-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    }

    private func path(_ name: String) -> String { directory.appendingPathComponent(name).path }

    private func file(_ name: String, _ text: String) throws -> String {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path(name)))
        return path(name)
    }

    private func shown(_ text: String) -> String { text.replacing(directory.path + "/", with: "") }

    private static let small = [
        "--layers", "2", "--experts", "8", "--intervals", "12", "--tokens", "512", "--width", "64", "--hidden-size",
        "32",
        "--period", "4",
    ]

    @Test func generateAndImport() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let first = try CtlProgram(
            ["trace", "generate", "--pattern", "shift", "--seed", "3", "-o", path("trace.jsonl")] + Self.small)
        #expect(first.status == 0 && first.errors.isEmpty, "\(first.errors)")
        try expectGolden(shown(first.output), "output/trace-generate.txt")
        let text = try String(contentsOfFile: path("trace.jsonl"), encoding: .utf8)
        try expectGolden(
            text.split(separator: "\n").prefix(2).joined(separator: "\n") + "\n", "output/trace-generate.jsonl")
        let loads = try file("loads.json", "[[[5, 1, 2, 8]], [[1, 9, 3, 3]]]")
        let second = try CtlProgram(
            [
                "trace", "import", "--format", "eplb", loads, "-o", path("eplb.jsonl"), "--steps", "10", "--width",
                "64",
                "--hidden-size", "32",
            ])
        #expect(second.status == 0 && second.errors.isEmpty, "\(second.errors)")
        try expectGolden(shown(second.output), "output/trace-import.txt")
        try expectGolden(try String(contentsOfFile: path("eplb.jsonl"), encoding: .utf8), "output/trace-import.jsonl")
    }

    @Test func simulate() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let trace = path("trace.jsonl")
        _ = try CtlProgram(["trace", "generate", "--pattern", "shift", "--seed", "3", "-o", trace] + Self.small)
        let question = [
            "simulate", "--trace", trace, "--ranks", "4", "--nodes", "2", "--policy", "expert-parallel", "--policy",
            "load-balanced", "--policy", "dp=8,tp=1", "--operations-per-second", "1e9", "--bandwidth", "1e8",
            "--latency", "1e-5", "--dense-seconds", "0.01",
        ]
        let table = try CtlProgram(question + ["--plot", path("plot.svg")])
        #expect(table.status == 0, "\(table.errors)")
        #expect(table.errors.hasPrefix("Note: dp=8,tp=1 ends: a grid of"), "\(table.errors)")
        try expectGolden(shown(table.output), "output/simulate.txt")
        try expectGolden(try String(contentsOfFile: path("plot.svg"), encoding: .utf8), "output/simulate.svg")
        #expect(try XMLParser(data: Data(contentsOf: URL(fileURLWithPath: path("plot.svg")))).parse())
        struct Report: Decodable {
            struct Policy: Decodable {
                struct Totals: Decodable { var plans: Int, steps: Int, bytesMoved: Int }
                struct Interval: Decodable { var stepSeconds: Double, bytesMoved: Int, replanned: Bool }
                var policy: String
                var failure: String?
                var totals: Totals
                var intervals: [Interval]
            }
            var ranks: Int
            var nodes: Int
            var policies: [Policy]
        }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let json = try CtlProgram(question + ["-o", "json"])
        let report = try decoder.decode(Report.self, from: Data(json.output.utf8))
        #expect(report.ranks == 4 && report.nodes == 2)
        #expect(report.policies.map(\.intervals.count) == [12, 12, 0])
        #expect(report.policies.map { $0.failure == nil } == [true, true, false])
        let balanced = report.policies[1]
        #expect(balanced.totals.steps == 120 && balanced.totals.plans > 0)
        #expect(balanced.totals.plans == balanced.intervals.count { $0.replanned })
        #expect(balanced.totals.bytesMoved == balanced.intervals.reduce(0) { $0 + $1.bytesMoved })
        let short = try CtlProgram(question + ["-o", "json", "--intervals", "3"])
        #expect(try decoder.decode(Report.self, from: Data(short.output.utf8)).policies[0].totals.steps == 30)
    }

    @Test func simulateSeveralNumbersOfRanks() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let trace = path("trace.jsonl")
        _ = try CtlProgram(["trace", "generate", "--pattern", "shift", "--seed", "3", "-o", trace] + Self.small)
        let question = [
            "simulate", "--trace", trace, "--ranks", "2", "--ranks", "4", "--ranks", "16", "--ranks-per-node", "2",
            "--policy", "expert-parallel", "--policy", "load-balanced", "--policy", "dp=4,tp=1",
            "--operations-per-second", "1e9", "--bandwidth", "1e8", "--latency", "1e-5", "--dense-seconds", "0.01",
        ]
        let table = try CtlProgram(question + ["--plot", path("plot.svg")])
        #expect(
            table.status == 0 && table.errors.contains("Note: dp=4,tp=1 ends on 2 ranks: a grid"), "\(table.errors)")
        try expectGolden(shown(table.output), "output/simulate-scaling.txt")
        try expectGolden(try String(contentsOfFile: path("plot.svg"), encoding: .utf8), "output/simulate-scaling.svg")
        #expect(try XMLParser(data: Data(contentsOf: URL(fileURLWithPath: path("plot.svg")))).parse())
        struct Totals: Decodable { var steps: Int, meanStepSeconds: Double, meanExpertSeconds: Double }
        struct Report: Decodable {
            struct Point: Decodable {
                struct Policy: Decodable { var policy: String, efficiency: Double?, totals: Totals }
                var ranks: Int, nodes: Int, tokens: Double
                var policies: [Policy]
            }
            var scaling: String
            var points: [Point]
        }
        struct Single: Decodable {
            struct Policy: Decodable { var totals: Totals }
            var policies: [Policy]
        }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        func report(_ more: [String]) throws -> Report {
            try decoder.decode(
                Report.self, from: Data(try CtlProgram(question + ["-o", "json"] + more).output.utf8))
        }
        let strong = try report([])
        #expect(strong.scaling == "strong" && strong.points.map(\.ranks) == [2, 4, 16])
        #expect(strong.points.map(\.nodes) == [1, 2, 8] && strong.points.allSatisfy { $0.tokens == 1 })
        let first = strong.points[0].policies[1]
        for point in strong.points {
            // As if these ranks had been asked for alone, with their part of the seconds that are divided.
            let dense = 0.02 / Double(point.ranks)
            let alone = try CtlProgram(
                [
                    "simulate", "--trace", trace, "--ranks", "\(point.ranks)", "--ranks-per-node", "2", "--policy",
                    "load-balanced", "--operations-per-second", "1e9", "--bandwidth", "1e8", "--latency", "1e-5",
                    "--dense-seconds", "\(dense)", "-o", "json",
                ])
            let totals = try decoder.decode(Single.self, from: Data(alone.output.utf8)).policies[0].totals
            let policy = point.policies[1]
            #expect(abs(totals.meanStepSeconds / policy.totals.meanStepSeconds - 1) < 1e-9)
            let efficiency =
                first.totals.meanStepSeconds * 2 / (policy.totals.meanStepSeconds * Double(point.ranks))
            #expect(abs((policy.efficiency ?? 0) / efficiency - 1) < 1e-9)
        }
        let weak = try report(["--weak-scaling"])
        #expect(weak.scaling == "weak" && weak.points.map(\.tokens) == [1, 2, 8])
        for point in weak.points {
            // As if a trace with so many times as many rows had been asked about on these ranks alone.
            let scaled = try file("scaled.jsonl", Self.scaled(trace, by: Int(point.tokens)))
            let alone = try CtlProgram(
                [
                    "simulate", "--trace", scaled, "--ranks", "\(point.ranks)", "--ranks-per-node", "2", "--policy",
                    "load-balanced", "--operations-per-second", "1e9", "--bandwidth", "1e8", "--latency", "1e-5",
                    "--dense-seconds", "0.01", "-o", "json",
                ])
            let totals = try decoder.decode(Single.self, from: Data(alone.output.utf8)).policies[0].totals
            let policy = point.policies[1]
            #expect(abs(policy.totals.meanStepSeconds / totals.meanStepSeconds - 1) < 1e-9)
            let efficiency = weak.points[0].policies[1].totals.meanStepSeconds / policy.totals.meanStepSeconds
            #expect(abs((policy.efficiency ?? 0) / efficiency - 1) < 1e-9)
        }
        for (few, many) in zip(strong.points, weak.points) {
            for (few, many) in zip(few.policies, many.policies) where few.totals.steps > 0 {
                // What is not of the experts is the same on every rank.
                let dense = many.totals.meanStepSeconds - many.totals.meanExpertSeconds
                #expect(dense > 0.0099, "\(many)")
                #expect(many.totals.meanExpertSeconds >= few.totals.meanExpertSeconds * (1 - 1e-9))
            }
        }
    }

    /// A trace with so many times as many rows.
    private static func scaled(_ trace: String, by factor: Int) throws -> String {
        try String(contentsOfFile: trace, encoding: .utf8).split(separator: "\n").map { line in
            var values = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
            if let loads = values["expert_loads"] as? [[Int]] {
                values["expert_loads"] = loads.map { $0.map { factor * $0 } }
            }
            return String(decoding: try JSONSerialization.data(withJSONObject: values), as: UTF8.self)
        }.joined(separator: "\n") + "\n"
    }

    /// Ranks of a trace compute as fast as they were found to, the slow one slowly, and other ranks as fast as their mean.
    @Test func recordedSecondsAreTakenOver() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        func interval(_ step: Int, revision: Int, seconds: [Double]) -> String {
            let ranks = seconds.enumerated().map { rank, seconds in
                #"{"rank":\#(rank),"step_seconds":\#(seconds + 0.7),"expert_work":1000,"#
                    + #""phase_seconds":{"experts":\#(seconds),"dispatch":0.125,"combine":0.075}}"#
            }
            return #"{"type":"interval","incarnation":1,"first_step":\#(step),"step_count":1,"#
                + #""plan_revision":\#(revision),"expert_loads":[[100,100]],"ranks":[\#(ranks.joined(separator: ","))]}"#
                + "\n"
        }
        let header =
            #"{"type":"trace","version":1,"source":"recorded","model":{"hidden_size":4,"layers":[[8,8]]},"#
            + #""cluster":{"nodes":[0,0],"ownership":"colocated"}}"# + "\n"
        // While layers switch, seconds of experts tell nothing.
        let trace = try file(
            "recorded.jsonl",
            header + interval(1, revision: 1, seconds: [0.2, 0.4])
                + interval(2, revision: 0, seconds: [9, 9]))
        struct Report: Decodable {
            struct Policy: Decodable {
                struct Totals: Decodable { var meanStepSeconds: Double, meanExpertSeconds: Double }
                var totals: Totals
            }
            var policies: [Policy]
        }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        // A row and neuron takes 0.6 s / 2000; one rank has all rows, and what else two ranks did.
        for (ranks, experts, dense) in [(2, 800 * 3e-4 * 4 / 3, 0.5), (1, 1600 * 3e-4, 1)] {
            let call = try CtlProgram([
                "simulate", "--trace", trace, "--policy", "expert-parallel", "--ranks", "\(ranks)",
                "--bandwidth", "1e18", "--latency", "0", "-o", "json",
            ])
            let totals = try decoder.decode(Report.self, from: Data(call.output.utf8)).policies[0].totals
            #expect(abs(totals.meanExpertSeconds - experts) < 1e-9, "\(ranks) ranks: \(totals)")
            #expect(abs(totals.meanStepSeconds - experts - dense) < 1e-9, "\(ranks) ranks: \(totals)")
        }
    }

    @Test func theStartIsLeftOut() throws {
        let trace = path("trace.jsonl")
        _ = try CtlProgram(["trace", "generate", "--pattern", "shift", "--seed", "3", "-o", trace] + Self.small)
        struct Report: Decodable {
            struct Policy: Decodable {
                struct Totals: Decodable { var steps: Int, meanBalance: Double }
                struct Interval: Decodable { var stepCount: Int, balance: Double }
                var totals: Totals
                var intervals: [Interval]
            }
            var policies: [Policy]
        }
        let question = ["simulate", "--trace", trace, "--ranks", "4", "--policy", "load-balanced", "-o", "json"]
        let answer = try CtlProgram(question + ["--warm-up-intervals", "2"])
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let policy = try #require(decoder.decode(Report.self, from: Data(answer.output.utf8)).policies.first)
        let counted = policy.intervals.dropFirst(2)
        let steps = counted.reduce(0) { $0 + $1.stepCount }
        #expect(policy.totals.steps == steps && steps > 0)
        let balance = counted.reduce(0) { $0 + $1.balance * Double($1.stepCount) } / Double(steps)
        #expect(abs(policy.totals.meanBalance - balance) < 1e-12)
        // The table tells what is counted, on several numbers of ranks, too.
        for more in [[], ["--ranks", "2"]] {
            let table = try CtlProgram(Array(question.dropLast(2)) + ["--warm-up-intervals", "2"] + more)
            #expect(table.output.contains("100 steps in 10 intervals, after 2 of warm-up\n"), "\(table.output)")
        }
        let none = try CtlProgram(question + ["--warm-up-intervals", "\(policy.intervals.count)"])
        #expect(none.status == 1 && none.errors.contains("leaves nothing of"), "\(none.errors)")
    }

    @Test(arguments: [
        (["trace", "generate", "-o", "x"], "--pattern"), (["trace", "generate", "--pattern", "zipf"], "--output"),
        (["trace", "generate", "--pattern", "wild", "-o", "x"], "wild"),
        (["trace", "generate", "--pattern", "zipf", "-o", "x", "--layers", "0"], "--layers"),
        (["trace", "generate", "--pattern", "zipf", "-o", "x", "--experts", "9999"], "--experts"),
        (["trace", "generate", "--pattern", "zipf", "-o", "x", "--top-k", "65"], "--top-k"),
        (["trace", "generate", "--pattern", "zipf", "-o", "x", "--seed=-1"], "--seed"),
        (["trace", "generate", "--pattern", "zipf", "-o", "x", "--drift", "2"], "--drift"),
        (["trace", "generate", "--pattern", "zipf", "-o", "x", "--width", "0"], "--width"),
        (["trace", "import", "--format", "eplb", "-o", "x"], "files"),
        (["trace", "import", "--format", "csv", "a", "-o", "x"], "csv"),
        (["trace", "import", "--format", "eplb", "a", "-o", "x", "--steps", "0"], "--steps"),
        (["trace", "import", "--format", "eplb", "a", "-o", "x", "--scale", "0"], "--scale"),
        (["simulate", "--policy", "eplb"], "--trace"), (["simulate", "--trace", "x"], "--policy"),
        (["simulate", "--trace", "x", "--policy", "best"], "unknown allocator \"best\""),
        (["simulate", "--trace", "x", "--policy", "eplb", "--policy", "eplb"], "twice"),
        (["simulate", "--trace", "x", "--policy", "eplb", "--ranks", "0"], "--ranks"),
        (["simulate", "--trace", "x", "--policy", "eplb", "--ranks", "2", "--nodes", "3"], "--nodes"),
        (["simulate", "--trace", "x", "--policy", "eplb", "--ranks", "2", "--ranks", "2"], "twice"),
        (["simulate", "--trace", "x", "--policy", "eplb", "--ranks-per-node", "0"], "--ranks-per-node"),
        (
            ["simulate", "--trace", "x", "--policy", "eplb", "--nodes", "1", "--ranks-per-node", "2"],
            "--nodes or --ranks-per-node"
        ),
        (["simulate", "--trace", "x", "--policy", "eplb", "--ranks", "2", "--weak-scaling"], "several --ranks"),
        (["simulate", "--trace", "x", "--policy", "eplb", "--bandwidth", "0"], "--bandwidth"),
        (["simulate", "--trace", "x", "--policy", "eplb", "--latency=-1"], "--latency"),
        (
            ["simulate", "--trace", "x", "--policy", "eplb", "--operations-per-second", "nan"],
            "--operations-per-second"
        ),
        (["simulate", "--trace", "x", "--policy", "eplb", "--intervals", "0"], "--intervals"),
    ])
    func wrongUsage(arguments: [String], word: String) throws {
        let call = try CtlProgram(arguments)
        #expect(call.status == 64 && call.output.isEmpty, "\(call.status) \(call.output)")
        #expect(call.errors.contains(word), "\(call.errors)")
    }

    /// Whatever a path leads to is written, and stays what it was: here standard output, which has a file.
    @Test func outputGoesWhereALinkLeads() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let output = path("output")
        try FileManager.default.createSymbolicLink(atPath: output, withDestinationPath: "/proc/self/fd/1")
        let call = try CtlProgram(["trace", "generate", "--pattern", "zipf", "-o", output] + Self.small)
        #expect(call.status == 0 && call.errors.isEmpty, "\(call.errors)")
        #expect(call.output.hasPrefix("{") && call.output.contains("}\nTrace: "), "\(call.output)")
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: output) == "/proc/self/fd/1")
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["output"])
    }

    /// What is set for the output's form is not meant for that of files.
    @Test func formsOfFilesAreArguments() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let loads = try file("loads.json", "[[1, 2]]")
        let configuration = try file("ctl.yaml", "format: yaml\n")
        for variables in [["MOE_FORMAT": "table"], ["MOE_CTL_CONFIG": configuration]] {
            let question = ["trace", "import", loads, "-o", path("trace.jsonl")]
            let call = try CtlProgram(question, environment: variables)
            #expect(call.status == 64 && call.errors.contains("Missing expected argument '--format"), "\(call.errors)")
            #expect(try CtlProgram(question + ["--format", "eplb"], environment: variables).status == 0)
        }
    }

    @Test func whatCannotBeReadTwiceIsNamed() throws {
        let call = try CtlProgram(["simulate", "--trace", "/dev/stdin", "--policy", "eplb", "--ranks", "2"])
        #expect(call.status == 1 && call.output.isEmpty)
        #expect(call.errors.hasPrefix("Error: /dev/stdin is not a regular file, and is read twice"), "\(call.errors)")
    }

    @Test func whatCannotBeReadIsNamed() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let question = ["--policy", "expert-parallel", "--ranks", "2"]
        let missing = try CtlProgram(["simulate", "--trace", "/nowhere/x"] + question)
        #expect(missing.status == 1 && missing.errors.contains("/nowhere/x"), "\(missing.errors)")
        let header =
            #"{"type":"trace","version":1,"source":"x","model":{"hidden_size":4,"layers":[[8,8]]}}"# + "\n"
        let bad = try file("bad.jsonl", header + "{\"type\":\"interval\"")
        let broken = try CtlProgram(["simulate", "--trace", bad] + question)
        #expect(broken.status == 1 && broken.output.isEmpty, "\(broken.errors)")
        #expect(broken.errors.contains("bad.jsonl, line 2: "), "\(broken.errors)")
        let empty = try CtlProgram(["simulate", "--trace", file("empty.jsonl", header)] + question)
        #expect(empty.status == 1 && empty.errors.contains("no intervals"), "\(empty.errors)")
        let line = #"{"type":"interval","incarnation":1,"first_step":1,"step_count":1,"expert_loads":[[1,2]]}"#
        let good = try file("good.jsonl", header + line + "\n")
        let unknown = try CtlProgram(["simulate", "--trace", good, "--policy", "expert-parallel"])
        #expect(unknown.status == 64 && unknown.errors.contains("--ranks"), "\(unknown.errors)")
        let small = try CtlProgram(["simulate", "--trace", good, "--memory-limit", "1"] + question)
        #expect(small.status == 1 && small.errors.contains("memory"), "\(small.errors)")
        let plot = try CtlProgram(["simulate", "--trace", good, "--plot", "/nowhere/x.svg"] + question)
        #expect(plot.status == 1 && plot.errors.contains("/nowhere/x.svg"), "\(plot.errors)")
        #expect(plot.errors.contains("No such file or directory"), "\(plot.errors)")
        let folder = try CtlProgram(["simulate", "--trace", good, "--plot", directory.path] + question)
        #expect(folder.status == 1 && folder.errors.contains("Is a directory; name a file"), "\(folder.errors)")
        let output = try CtlProgram(["trace", "generate", "--pattern", "zipf", "-o", "/nowhere/x.jsonl"])
        #expect(output.status == 1 && output.errors.contains("/nowhere/x.jsonl"), "\(output.errors)")
        let matrix = try CtlProgram(
            ["trace", "import", "--format", "eplb", file("bad.json", "[[1, -1]]"), "-o", path("x.jsonl")])
        #expect(matrix.status == 1 && matrix.errors.contains("bad.json: matrix 0"), "\(matrix.errors)")
        #expect(!FileManager.default.fileExists(atPath: path("x.jsonl")))
    }
}
