import ExpertPlacement
import Foundation
import TestSupport
import Testing
import Traces

/// Loads of other projects become traces, and files that are none of theirs are refused with what is wrong.
struct ImportTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    private func trace(
        _ format: TraceFormat, _ files: [String], steps: Int = 1, scale: Double = 1, note: (String) -> Void = { _ in }
    ) throws -> [TraceInterval] {
        let output = folder.path("trace.jsonl")
        let job = TraceImport(format: format, steps: steps, scale: scale, width: 64, hiddenSize: 16)
        let (header, count) = try job.run(files: files, output: output, note: note)
        let trace = try lines(output)
        #expect(trace.header == header && header.source == format.rawValue)
        let all = try intervals(output)
        #expect(all.count == count)
        return all
    }

    @Test func matrices() throws {
        let one = try trace(.eplb, [folder.file("one.json", "[[1, 2.4, 3], [4, 5, 6]]")], steps: 5)
        #expect(one == [TraceInterval(firstStep: 1, stepCount: 5, expertLoads: [[1, 2, 3], [4, 5, 6]])])
        let two = try trace(.eplb, [folder.file("two.json", "[[[1, 2]], [[0.003, 4]]]")], scale: 1000)
        #expect(two.map(\.expertLoads) == [[[1000, 2000]], [[3, 4000]]])
        #expect(two.map(\.firstStep) == [1, 2])
    }

    @Test func iterations() throws {
        let text = #"{"iteration":1,"loads":[[3,1],[2,2]]}"# + "\n" + #"{"iteration":11,"loads":[[4,0],[1,3]]}"# + "\n"
        let all = try trace(.lines, [folder.file("lines.jsonl", text)])
        #expect(all.map(\.firstStep) == [1, 11])
        #expect(all.map(\.expertLoads) == [[[3, 1], [2, 2]], [[4, 0], [1, 3]]])
    }

    /// Lines without anything are passed over; iterations go on after the steps of the one before.
    @Test func iterationsAreInOrder() throws {
        func line(_ iteration: Int) -> String { #"{"iteration":\#(iteration),"loads":[[3,1]]}"# }
        let text = "\n" + line(0) + "\n\r\n" + line(10) + "\n \n\n" + line(25) + "\n\n"
        #expect(try trace(.lines, [folder.file("good.jsonl", text)], steps: 10).map(\.firstStep) == [0, 10, 25])
        for (iterations, steps) in [([5, 5], 1), ([5, 1], 1), ([1, 10], 10)] {
            let path = try folder.file("bad.jsonl", iterations.map(line).joined(separator: "\n\n"))
            let error = #expect(throws: TraceError.self) { _ = try trace(.lines, [path], steps: steps) }
            #expect(error?.line == 3 && error?.remedy.contains("--steps") == true, "\(error.debugDescription)")
        }
    }

    /// Sizes are of what a link leads to; the file is a hole.
    @Test func largeFilesAreRefusedThroughLinks() throws {
        let path = try folder.file("large.json", "")
        try FileHandle(forWritingTo: URL(filePath: path)).truncate(atOffset: UInt64(TraceLimits.fileBytes) + 1)
        try FileManager.default.createSymbolicLink(atPath: folder.path("link.json"), withDestinationPath: path)
        for name in ["large.json", "link.json"] {
            let error = #expect(throws: TraceError.self) { _ = try trace(.eplb, [folder.path(name)]) }
            #expect(
                error?.problem.contains("it has \(TraceLimits.fileBytes + 1) bytes") == true,
                "\(error.debugDescription)")
        }
    }

    // Values follow from Fixtures/make_fixtures.py, with which PyTorch wrote the files.

    @Test func sglangStatistics() throws {
        let all = try trace(.sglang, [Samples.fixture("sglang-stat.pt")])
        // The third pass of the buffer never was.
        #expect(all.map(\.expertLoads) == [[[1, 2, 3, 4], [5, 6, 7, 8]], [[9, 10, 11, 12], [13, 14, 15, 16]]])
        let sum = try trace(.sglang, [Samples.fixture("sglang-stat.pt")], steps: 2)
        #expect(
            sum == [TraceInterval(firstStep: 1, stepCount: 2, expertLoads: [[10, 12, 14, 16], [18, 20, 22, 24]])])
        let partial = try trace(.sglang, [Samples.fixture("sglang-stat.pt")], steps: 5)
        #expect(partial.map(\.stepCount) == [2])
    }

    /// Both ranks' counts of physical experts, added up: layer 0 has experts 0 1 2 3 0 1, layer 1 has 3 2 1 0 3 3.
    @Test func sglangPasses() throws {
        let files = [0, 1].map { Samples.fixture("sglang-pass-\($0).pt") }
        let all = try trace(.sglang, files)
        func expected(_ first: Int) -> [[Int]] {
            let slots = (0..<12).map { 2 * (first + $0) + 1 }
            return [
                [slots[0] + slots[4], slots[1] + slots[5], slots[2], slots[3]],
                [slots[9], slots[8], slots[7], slots[6] + slots[10] + slots[11]],
            ]
        }
        #expect(all.map(\.expertLoads) == [expected(70), expected(80)])
    }

    /// The ring goes on where the recording before it ended: what was never used lies between the newest pass and the oldest.
    @Test(
        arguments: [
            ([1, 2, 0, 0], [1, 2], nil), ([0, 0, 1, 2], [1, 2], nil),
            ([3, 0, 1, 2], [1, 2, 3], "place 2 of the buffer"),
            // One that no token went through is none of them.
            ([4, 0, 0, 1, 0, 3], [1, 3, 4], "place 3 of the buffer"), ([1, 0, 2, 0], [1, 2], nil),
            ([3, 1, 2], [3, 1, 2], "all 3 places"),
        ] as [([Int], [Int], String?)])
    func sglangRings(places: [Int], passes: [Int], word: String?) throws {
        let counts = places.map { "[[\($0), \($0)]]" }.joined(separator: ", ")
        let path = try folder.file("ring.json", #"{"logical_count": [\#(counts)]}"#)
        var notes = [String]()
        let all = try trace(.sglang, [path]) { notes.append($0) }
        #expect(all.map { $0.expertLoads[0][0] } == passes)
        #expect(notes.count == (word == nil ? 0 : 1), "\(notes)")
        #expect(notes.allSatisfy { $0.contains(word ?? "") }, "\(notes)")
    }

    @Test func sglangJSON() throws {
        let path = try folder.file(
            "counts.json", #"{"logical_count": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]], "rank": 0}"#)
        #expect(try trace(.sglang, [path]).map(\.expertLoads) == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
        let flat = try folder.file("flat.json", #"{"logical_count": [[1, 2], [3, 4]]}"#)
        let sum = try trace(.sglang, [flat], steps: 50)
        #expect(sum == [TraceInterval(firstStep: 1, stepCount: 50, expertLoads: [[1, 2], [3, 4]])])
    }

    /// A ring whose oldest pass is the third; the fourth is empty.
    @Test func vllmState() throws {
        let all = try trace(.vllm, [Samples.fixture("vllm-state.pt")])
        func expected(_ pass: Int) -> [[Int]] {
            let slots = (0..<12).map { 1 + 12 * pass + $0 }
            return [
                [slots[0] + slots[4], slots[1] + slots[5], slots[2], slots[3]],
                [slots[9], slots[8], slots[7], slots[6] + slots[10] + slots[11]],
            ]
        }
        #expect(all.map(\.expertLoads) == [expected(2), expected(0), expected(1)])
    }

    /// Each rank counts its own tokens: passes are added up in the order of the ring, also those in which a rank had none.
    @Test func vllmRanks() throws {
        func file(_ rank: Int, _ window: String, next: Int = 1) throws -> String {
            try folder.file(
                "rank-\(rank).json",
                #"{"expert_load_window": \#(window), "physical_to_logical_map": [[0, 1, 0]], "#
                    + #""expert_load_window_step": \#(next)}"#)
        }
        let files = try [
            file(0, "[[[1, 2, 3]], [[0, 0, 0]], [[7, 8, 9]]]"),
            file(1, "[[[10, 20, 30]], [[40, 50, 60]], [[0, 0, 0]]]"),
        ]
        #expect(try trace(.vllm, files).map(\.expertLoads) == [[[100, 50]], [[16, 8]], [[44, 22]]])
        let short = try file(2, "[[[1, 2, 3]]]", next: 0)
        let whole = try folder.file("whole.json", #"{"global_expert_load_window": [[4, 2]]}"#)
        for (other, word) in [(short, "after the same pass"), (whole, "not of one rank")] {
            let error = #expect(throws: TraceError.self) { _ = try trace(.vllm, [files[0], other]) }
            #expect(error?.description.contains(word) == true && error?.file == other, "\(error.debugDescription)")
        }
    }

    @Test func vllmTensor() throws {
        let all = try trace(.vllm, [Samples.fixture("tensor.pt")], scale: 2)
        #expect(all.map(\.expertLoads) == [[[0, 2, 4, 6], [1, 3, 5, 7]]])
        let json = try folder.file(
            "state.json", #"{"expert_load_pass": [[1, 2, 3]], "physical_to_logical_map": [[0, 1, 0]]}"#)
        #expect(try trace(.vllm, [json]).map(\.expertLoads) == [[[4, 2]]])
        // One is of a pass, the other of as many as the window has.
        #expect(try trace(.vllm, [json], steps: 100).map(\.stepCount) == [1])
        let window = try folder.file("window.json", #"{"global_expert_load_window": [[4, 2]]}"#)
        #expect(
            try trace(.vllm, [window], steps: 100)
                == [TraceInterval(firstStep: 1, stepCount: 100, expertLoads: [[4, 2]])])
    }

    @Test(arguments: [
        (TraceFormat.eplb, "[[1, 2], [3", "no JSON"), (.eplb, "{}", "wrong type"), (.eplb, "[]", "0 layers"),
        (.eplb, "[[]]", "layers"), (.eplb, "[[1, -2]]", "load -2.0 in layer 0"), (.eplb, "[[1, \"a\"]]", "[0][1]"),
        (.eplb, "[[[1, 2]], [[1, 2, 3]]]", "matrix 1"), (.eplb, "[[0.1, 0.2]]", "--scale"),
        (.eplb, "[[1e300]]", "load"),
        (.lines, #"{"iteration":1,"loads":[[1]]}"# + "\n{}", "line 2"), (.lines, "", "no loads"),
        (.lines, #"{"iteration":-1,"loads":[[1]]}"#, "first_step"),
        (.lines, #"{"iteration":9223372036854775807,"loads":[[1]]}"#, "first_step"),
        (.vllm, "{}", "expert_load_window"), (.vllm, "text", "neither a .pt file"),
        (.vllm, "[1]", "expert_load_window"),
        (.vllm, #"{"expert_load_pass": [[1, 2]], "physical_to_logical_map": [[0]]}"#, "physical experts"),
        (
            .vllm, #"{"expert_load_window": [[[1], [1]]], "physical_to_logical_map": [[0], [999999]]}"#,
            "the expert 999999.0 in layer 1"
        ),
        (
            .sglang,
            #"{"records": [{"forward_pass_id": 0, "global_physical_count": [[1, 2]]}], "last_physical_to_logical_map": [[0, 2]]}"#,
            "the expert 2.0 in layer 0"
        ),
        (.sglang, #"{"logical_count": [[1, 2], [3]]}"#, "logical_count"), (.sglang, #"{"records": [[1]]}"#, "records"),
        (.vllm, "PK\u{3}\u{4}", "no zip file"),
    ])
    func whatIsNoneOfTheirsIsNamed(format: TraceFormat, text: String, word: String) throws {
        let path = try folder.file("bad", text)
        let error = #expect(throws: TraceError.self) { _ = try trace(format, [path]) }
        #expect(error?.file == path, "\(error.debugDescription)")
        #expect(error?.description.contains(word) == true, "\(error.debugDescription)")
        #expect(folder.names == ["bad"])
    }

    @Test func nestedTuplesAreRefused() throws {
        let error = #expect(throws: TraceError.self) { _ = try trace(.vllm, [Samples.fixture("deep.pt")]) }
        #expect(error?.description.contains("expert_load_window") == true)
    }

    /// A list that is a hundred times in itself, and a tensor of many rows without numbers.
    @Test(arguments: ["endless.pt", "rows.pt"]) func smallFilesTakeLittle(name: String) throws {
        let error = #expect(throws: TraceError.self) { _ = try trace(.vllm, [Samples.fixture(name)]) }
        #expect(
            error?.description.contains(name == "rows.pt" ? "expert_load_window" : "more than") == true,
            "\(error.debugDescription)")
    }

    @Test func otherModesAreNamed() throws {
        let error = #expect(throws: TraceError.self) { _ = try trace(.sglang, [Samples.fixture("sglang-token.pt")]) }
        #expect(error?.description.contains("per_pass") == true)
        #expect(throws: TraceError.self) { _ = try trace(.sglang, [Samples.fixture("vllm-state.pt")]) }
        #expect(throws: TraceError.self) { _ = try trace(.eplb, ["a", "b"]) }
    }

    /// Whatever bytes of a .pt file change, nothing traps.
    @Test(arguments: ["sglang-stat.pt", "sglang-pass-0.pt", "vllm-state.pt"])
    func damagedFilesAreRefused(name: String) throws {
        let bytes = try Data(contentsOf: URL(fileURLWithPath: Samples.fixture(name)))
        var generator = SeededGenerator(seed: TestRuns.seed())
        let format = name.hasPrefix("vllm") ? TraceFormat.vllm : .sglang
        for round in 0..<TestRuns.count(400, soak: 20_000) {
            var damaged = bytes
            if round % 8 == 0 {
                damaged = damaged.prefix(Int.random(in: 0..<damaged.count, using: &generator))
            } else {
                for _ in 0..<Int.random(in: 1...4, using: &generator) {
                    damaged[Int.random(in: 0..<damaged.count, using: &generator)] = UInt8.random(
                        in: 0...255, using: &generator)
                }
            }
            do { _ = try trace(format, [folder.file("damaged.pt", damaged)]) } catch is TraceError {}
        }
    }
}
