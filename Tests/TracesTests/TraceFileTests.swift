import ControlTestSupport
import ExpertPlacement
import Foundation
import TestSupport
import Testing
import Traces

/// Traces come back as they were written, and what is no trace is named with file and line.
struct TraceFileTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    private func written() throws -> String {
        let path = folder.path("trace.jsonl")
        let writer = try TraceWriter(path: path, header: Samples.header())
        try writer.write(.interval(Samples.interval()))
        try writer.write(.plan(Samples.plan()))
        try writer.write(.interval(Samples.interval(1)))
        try writer.finish()
        return path
    }

    @Test func whatIsWrittenComesBack() throws {
        let trace = try lines(written())
        #expect(trace.header == Samples.header())
        #expect(
            try trace.lines == [
                .interval(Samples.interval()), .plan(Samples.plan()), .interval(Samples.interval(1)),
            ])
        #expect(folder.names == ["trace.jsonl"])
    }

    @Test func linesAreValid() throws {
        let validator = try SchemaValidator()
        let text = try String(contentsOfFile: written(), encoding: .utf8)
        for (line, schema) in zip(text.split(separator: "\n"), ["trace", "trace_interval", "trace_plan"]) {
            let value = try JSONValue(Data(line.utf8))
            #expect(try validator.problems(of: value, schema: schema) == [])
            guard case .object(let fields) = value else { continue }
            for name in fields.keys {
                var spoilt = value
                spoilt[name] = JSONValue.null
                #expect(try !validator.problems(of: spoilt, schema: schema).isEmpty, "\(name)")
            }
        }
    }

    /// A writer that is given up leaves what was there before.
    @Test func unfinishedTracesLeaveNothing() throws {
        let path = try folder.file("trace.jsonl", "earlier")
        do {
            let writer = try TraceWriter(path: path, header: Samples.header())
            try writer.write(.interval(Samples.interval()))
        }
        #expect(folder.names == ["trace.jsonl"])
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "earlier")
    }

    private static let header =
        #"{"type":"trace","version":1,"source":"x","model":{"hidden_size":4,"layers":[[8,8],[8,8]]}}"#
    private static let interval = #"{"type":"interval","incarnation":1,"first_step":1,"step_count":1,"#

    @Test(arguments: [
        ("", 1, "first line"), ("x", 1, "no JSON"), ("[]", 1, "wrong type"), ("{}", 1, "type is missing"),
        (#"{"type":"interval"}"#, 1, "incarnation is missing"),
        (#"{"type":"trace","version":2}"#, 1, "reads version 1"),
        (#"{"type":"trace","version":1,"source":"x","model":{"hidden_size":4,"layers":[]}}"#, 1, "layers"),
        (#"{"type":"trace","version":1,"source":"x","model":{"hidden_size":4,"layers":[[0]]}}"#, 1, "sizes"),
        (
            #"{"type":"trace","version":1,"source":"x","model":{"hidden_size":16777216,"layers":[[16777216]]}}"#, 1,
            "over"
        ),
        (header + "\n" + header, 2, "second trace"), (header + "\n{}", 2, "type is missing"),
        (header + "\n" + #"{"type":"plans"}"#, 2, "no type of a trace's line"),
        (header + "\n\n", 2, "no JSON"),
        (header + "\n" + interval + #""expert_loads":[[1,2]]}"#, 2, "the trace's model has 2 of 2"),
        (header + "\n" + interval + #""expert_loads":[[1,2],[1,-2]]}"#, 2, "expert_loads"),
        (header + "\n" + interval + #""expert_loads":[[1,2],[1,0.5]]}"#, 2, "no JSON"),
        (header + "\n" + interval + #""expert_loads":[[1,2],[1,99999999999999999999]]}"#, 2, "no JSON"),
        (header + "\n" + interval + #""step_seconds":-1,"expert_loads":[[1,2],[1,2]]}"#, 2, "step_seconds"),
        (header + "\n" + interval + #""tokens":-1,"expert_loads":[[1,2],[1,2]]}"#, 2, "tokens"),
        (
            header + "\n" + interval
                + #""ranks":[{"rank":-1,"step_seconds":1,"phase_seconds":{}}],"expert_loads":[[1,2],[1,2]]}"#, 2,
            "rank -1"
        ),
    ])
    func whatIsNoTraceIsNamed(text: String, line: Int, word: String) throws {
        let path = try folder.file("bad.jsonl", text)
        let error = #expect(throws: TraceError.self) { _ = try lines(path) }
        #expect(error?.line == line && error?.file == path, "\(error.debugDescription)")
        #expect(error?.description.contains(word) == true, "\(error.debugDescription)")
    }

    @Test func missingFilesAreNamed() {
        let error = #expect(throws: TraceError.self) { _ = try TraceReader(path: "/nowhere/x.jsonl") }
        #expect(error?.description.contains("/nowhere/x.jsonl") == true)
        #expect(throws: TraceError.self) { _ = try TraceWriter(path: "/nowhere/x.jsonl", header: Samples.header()) }
    }

    /// Whatever bytes change, nothing traps, and errors name the line.
    @Test func damagedTracesAreRefused() throws {
        let bytes = try Data(contentsOf: URL(fileURLWithPath: written()))
        var generator = SeededGenerator(seed: TestRuns.seed())
        for _ in 0..<TestRuns.count(300, soak: 20_000) {
            var damaged = bytes
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                let place = Int.random(in: 0..<damaged.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: damaged[place] = UInt8.random(in: 0...255, using: &generator)
                case 1: damaged.insert(contentsOf: Data("9".utf8), at: place)
                default: damaged = damaged.prefix(max(1, place))
                }
            }
            do { _ = try lines(folder.file("damaged.jsonl", damaged)) } catch let error as TraceError {
                #expect(error.line != nil)
            }
        }
    }
}
