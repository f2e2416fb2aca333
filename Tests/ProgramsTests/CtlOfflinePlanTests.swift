import ExpertPlacement
import Foundation
import Testing

/// `moe-ctl placement plan --loads`, and what else works without a coordinator.
@Suite struct CtlOfflinePlanTests {
    private let directory: URL
    private static let loads = "[[900, 500, 40, 30], [30, 40, 900.5, 500]]"

    init() throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("plan-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    }

    private func file(_ name: String, _ text: String = loads) throws -> String {
        let file = directory.appendingPathComponent(name)
        try Data(text.utf8).write(to: file)
        return file.path
    }

    private func ask(_ arguments: String...) throws -> CtlProgram { try CtlProgram(["placement"] + arguments) }

    private func plan(_ text: String) throws -> PlacementPlan {
        try JSONDecoder().decode(PlacementPlan.self, from: Data(text.utf8))
    }

    @Test(arguments: ["table", "json", "yaml"])
    func output(format: String) throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        // What programs read is exact, so here they read a plan without measured fractions.
        let allocator = format == "table" ? "load-balanced" : "dp=2,tp=2"
        let call = try ask(
            "plan", "--loads", file("loads.json"), "--ranks", "4", "--nodes", "2", "--width", "64", "--hidden-size",
            "16", "--allocator", allocator, "-o", format)
        #expect(call.status == 0)
        #expect(call.errors.isEmpty, "\(call.errors)")
        try expectGolden(call.output, "output/placement-plan-loads.\(format == "table" ? "txt" : format)")
    }

    /// With a plan in force, the table tells what moves.
    @Test func startsFromAPlan() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let loads = try file("loads.json")
        let size = ["--ranks", "4", "--hidden-size", "16"]
        let first = try CtlProgram(
            ["placement", "plan", "--loads", loads, "--allocator", "expert-parallel", "--width", "64", "-o", "json"]
                + size)
        let current = try file("current.json", first.output)
        // The width is the plan's.
        let table = try CtlProgram(["placement", "plan", "--loads", loads, "--current", current] + size)
        #expect(table.status == 0, "\(table.errors)")
        try expectGolden(table.output, "output/placement-plan-current.txt")
        let next = try CtlProgram(
            ["placement", "plan", "--loads", loads, "--current", current, "--allocator", "eplb", "-o", "yaml"] + size)
        let target = try file("next.yaml", next.output)

        for format in ["table", "json", "yaml"] {
            let diff = try CtlProgram(
                ["placement", "diff", current, target, "--hidden-size", "16", "-o", format])
            #expect(diff.status == 0, "\(diff.errors)")
            let text = diff.output.replacing(directory.path, with: "plans")
            try expectGolden(text, "output/placement-diff-files.\(format == "table" ? "txt" : format)")
        }
        let none = try ask("diff", current, current, "--hidden-size", "16", "--optimizer-placement", "decoupled")
        #expect(none.output.contains("nothing") && none.output.contains("0 B"), "\(none.output)")
    }

    /// The bytes of a difference are the migration's, and what ranks send is what ranks receive.
    @Test(arguments: OwnershipPolicy.allCases)
    func differencesAddUp(ownership: OwnershipPolicy) throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let loads = try file("loads.json")
        let plans = try ["expert-parallel", "dp=2,tp=2"].map { allocator in
            let call = try ask(
                "plan", "--loads", loads, "--ranks", "4", "--allocator", allocator, "--width", "63", "--hidden-size",
                "16", "-o", "json")
            return (file: try file("\(allocator).json", call.output), plan: try plan(call.output))
        }
        let call = try ask(
            "diff", plans[0].file, plans[1].file, "--hidden-size", "16", "--optimizer-placement", ownership.rawValue,
            "-o", "json")
        struct Difference: Decodable {
            struct Rank: Decodable { var sendsBytes: Int, receivesBytes: Int, getsNeurons: Int, losesNeurons: Int }
            struct Expert: Decodable { var bytes: Int }
            var bytes: Int
            var ranks: [Rank]
            var experts: [Expert]
        }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let difference = try decoder.decode(Difference.self, from: Data(call.output.utf8))
        let migration = try Migration(from: plans[0].plan, to: plans[1].plan, ownership: ownership)
        #expect(difference.bytes == migration.bytes(hiddenSize: 16))
        #expect(difference.bytes == difference.ranks.reduce(0) { $0 + $1.sendsBytes })
        #expect(difference.bytes == difference.ranks.reduce(0) { $0 + $1.receivesBytes })
        #expect(difference.bytes == difference.experts.reduce(0) { $0 + $1.bytes })
        // Whole experts are one replica of 63 neurons, grids are two.
        let gain = difference.ranks.reduce(0) { $0 + $1.getsNeurons - $1.losesNeurons }
        #expect(gain == 8 * 63)
    }

    @Test func plansForOtherRanksAreCompared() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let loads = try file("loads.json")
        let plans = try ["2", "4"].map { ranks in
            try file("\(ranks).json", ask("plan", "--loads", loads, "--ranks", ranks, "-o", "json").output)
        }
        let diff = try ask("diff", plans[0], plans[1], "--hidden-size", "16")
        #expect(diff.status == 0 && diff.output.contains("the number of ranks changes"), "\(diff.output)\(diff.errors)")
    }

    @Test(arguments: [
        (["--ranks", "0"], "--ranks"), (["--ranks", "4", "--nodes", "5"], "--nodes"),
        (["--ranks", "4", "--width", "0"], "--width"), (["--ranks", "4", "--hidden-size=-1"], "--hidden-size"),
        (["--ranks", "4", "--memory-limit", "0"], "--memory-limit"), ([], "--ranks"),
        (["--ranks", "4", "--allocator", "best"], "unknown allocator \"best\""),
        (["--ranks", "4", "--allocator", "exec:mine"], "allocator exec:mine is a program"),
        (["--ranks", "4", "--allocator", "eplb:speed=1"], "no option \"speed\""),
        (["--ranks", "4", "--dry-run"], "--dry-run"), (["--ranks", "4", "--run", "x"], "--run"),
    ])
    func wrongUsage(arguments: [String], word: String) throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let call = try CtlProgram(["placement", "plan", "--loads", file("loads.json")] + arguments)
        #expect(call.status == 64 && call.output.isEmpty)
        #expect(call.errors.contains(word), "\(call.errors)")
    }

    /// A coordinator that is set for other commands does not stand in the way.
    @Test func onlyArgumentsContradictEachOther() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let configuration = try file("ctl.yaml", "coordinator: 127.0.0.1:1\n")
        let question = ["placement", "plan", "--loads", try file("loads.json"), "--ranks", "2", "-o", "json"]
        for variables in [["MOE_COORDINATOR": "127.0.0.1:1"], ["MOE_CTL_CONFIG": configuration]] {
            let call = try CtlProgram(question, environment: variables)
            #expect(call.status == 0 && call.errors.isEmpty, "\(call.errors)")
            for arguments in [["--coordinator", "127.0.0.1:1"], ["--coordinator=127.0.0.1:1"]] {
                let both = try CtlProgram(question + arguments, environment: variables)
                #expect(both.status == 64 && both.errors.contains("leave --coordinator away"), "\(both.errors)")
            }
        }
    }

    @Test func offlineOptionsNeedLoads() throws {
        let call = try CtlProgram(["placement", "plan", "--ranks", "4"])
        #expect(call.status == 64 && call.errors.contains("--loads"), "\(call.errors)")
    }

    @Test(arguments: [
        ("[[1, 2], [3", "not well formed"), ("{\"loads\": [[1]]}", "there is no list"), ("[[1, \"a\"]]", "at [0][1]"),
        ("[1, 2]", "at [0]"), ("[]", "a layer at least"), ("[[]]", "an expert"), ("[[1, -2]]", "load -2.0"),
        ("", "not well formed"),
    ])
    func badLoadsAreNamed(text: String, word: String) throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = try file("loads.json", text)
        let call = try ask("plan", "--loads", path, "--ranks", "2")
        #expect(call.status == 1 && call.output.isEmpty)
        #expect(call.errors.hasPrefix("Error: ") && call.errors.contains(path), "\(call.errors)")
        #expect(call.errors.contains(word), "\(call.errors)")
    }

    @Test func whatDoesNotFitIsNamed() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let loads = try file("loads.json")
        let missing = try ask("plan", "--loads", "/nowhere/loads.json", "--ranks", "2")
        #expect(missing.status == 1 && missing.errors.contains("/nowhere/loads.json"), "\(missing.errors)")
        #expect(missing.errors.contains("No such file or directory"), "\(missing.errors)")
        let small = try ask("plan", "--loads", loads, "--ranks", "2", "--memory-limit", "1000")
        #expect(small.status == 1 && small.errors.contains("fit"), "\(small.errors)")
        let plan = try file("plan.json", ask("plan", "--loads", loads, "--ranks", "2", "-o", "json").output)
        let ranks = try ask("plan", "--loads", loads, "--ranks", "3", "--current", plan)
        #expect(ranks.status == 1 && ranks.errors.contains("--ranks 2"), "\(ranks.errors)")
        let other = try ask("plan", "--loads", file("other.json", "[[1, 2]]"), "--ranks", "2", "--current", plan)
        #expect(other.status == 1 && other.errors.contains("2 layers of 4 experts"), "\(other.errors)")
        for text in ["{}", "[]", "{\"plan\": {}}", "{\"layer\": 1, \"plan\": {}}"] {
            let bad = try ask("diff", file("bad.json", text), plan, "--hidden-size", "8")
            #expect(bad.status == 1 && bad.errors.contains("bad.json has no placement plan"), "\(bad.errors)")
        }
    }

    /// What is wrong with a plan is not mended by making another.
    @Test func plansThatDoNotHoldAreNamed() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let plan = try ask("plan", "--loads", file("loads.json"), "--ranks", "2", "-o", "json").output
        for (text, words) in [
            (plan.replacing("\"format\" : 1", with: "\"format\" : 9"), "format 9"),
            (plan.replacing("\"world_size\" : 2", with: "\"world_size\" : 1"), "1"),
        ] {
            let call = try ask("apply", file("bad.json", text))
            #expect(call.status == 1 && call.errors.contains("has no placement plan that holds: "), "\(call.errors)")
            #expect(call.errors.contains(words) && !call.errors.contains("--loads"), "\(call.errors)")
        }
    }

    /// Sizes over which bytes cannot be counted are refused, with what is wrong.
    @Test func hugePlansAreRefused() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        func plan(width: Int, rank: Int, experts: Int = 1) -> String {
            let expert =
                #"{"width": \#(width), "mesh": {"data_parallel": 1, "tensor_parallel": 1, "ranks": [\#(rank)]}}"#
            let list = [String](repeating: expert, count: experts).joined(separator: ",")
            return
                #"{"format": 1, "revision": 0, "world_size": 2, "nodes": [0, 0], "layers": [{"experts": [\#(list)]}]}"#
        }
        for (width, experts, hiddenSize, reason) in [
            (Int.max, 1, "16", "16777216"), (1 << 61, 2, "16777216", "16777216"),
            (1 << 24, 5000, "16777216", "\(ExpertModel.sizeLimit)"),
        ] {
            let files = try [0, 1].map { try file("\($0).json", plan(width: width, rank: $0, experts: experts)) }
            let diff = try ask("diff", files[0], files[1], "--hidden-size", hiddenSize)
            #expect(diff.status == 1 && diff.errors.contains(reason), "\(diff.status): \(diff.errors)")
            let list = [String](repeating: "1", count: min(experts, 4096)).joined(separator: ",")
            let loads = try file("loads.json", "[[\(list)]]")
            let current = try file("current.json", plan(width: width, rank: 0, experts: min(experts, 4096)))
            let call = try ask(
                "plan", "--loads", loads, "--ranks", "2", "--current", current, "--hidden-size", hiddenSize,
                "--memory-limit", "9007199254740992")
            #expect(call.status == 1 && call.errors.contains(reason), "\(call.status): \(call.errors)")
        }
        let call = try ask(
            "plan", "--loads", file("small.json", "[[1, 1]]"), "--ranks", "1", "--width", "16777216", "--hidden-size",
            "16777216", "--memory-limit", "9007199254740992")
        #expect(call.status == 1 && call.errors.contains("\(ExpertModel.sizeLimit)"), "\(call.errors)")
    }
}
