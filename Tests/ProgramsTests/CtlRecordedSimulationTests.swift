import Foundation
import Testing

/// `moe-ctl simulate` on traces of runs whose reports are not all as one would wish.
///
/// A step of every rank takes 0.125 s for its experts, 0.125 s for dispatch and combine, and 0.5 s for the rest.
@Suite struct CtlRecordedSimulationTests {
    private let directory: URL

    init() throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("recorded-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    }

    private static func interval(
        _ number: Int, ranks: [Int] = [0, 1, 2, 3], incarnation: Int = 1, revision: Int = 1, stepSeconds: Double = 0.75,
        work: [Int]? = [1000, 1000, 1000, 1000], experts: [Double] = [0.125, 0.125, 0.125, 0.125]
    ) -> String {
        let timings = ranks.map { rank in
            let done = work.map { #","expert_work":\#($0[rank])"# } ?? ""
            return #"{"rank":\#(rank),"step_seconds":\#(stepSeconds)\#(done),"#
                + #""phase_seconds":{"experts":\#(experts[rank]),"dispatch":0.0625,"combine":0.0625}}"#
        }
        let measured = ranks.isEmpty ? "" : #","ranks":[\#(timings.joined(separator: ","))]"#
        return #"{"type":"interval","incarnation":\#(incarnation),"first_step":\#(number + 1),"step_count":1,"#
            + #""plan_revision":\#(revision),"expert_loads":[[100,100,100,100]]\#(measured)}"# + "\n"
    }

    private func trace(_ intervals: [String], cluster: String = "") throws -> String {
        let path = directory.appendingPathComponent("recorded.jsonl").path
        let header =
            #"{"type":"trace","version":1,"source":"recorded","model":{"hidden_size":4,"layers":[[8,8,8,8]]},"#
            + #""cluster":{"nodes":[0,0,0,0],"ownership":"colocated"\#(cluster)}}"# + "\n"
        try Data((header + intervals.joined()).utf8).write(to: URL(fileURLWithPath: path))
        return path
    }

    private struct Report: Decodable {
        struct Policy: Decodable {
            struct Interval: Decodable { var stepSeconds: Double, expertSeconds: Double }
            var failure: String?
            var intervals: [Interval]
        }
        var policies: [Policy]
    }

    private func simulate(_ intervals: [String], _ more: [String] = []) throws -> (dense: [Double], errors: String) {
        let call = try CtlProgram(
            ["simulate", "--trace", trace(intervals), "--policy", "expert-parallel", "-o", "json"] + more)
        #expect(call.status == 0, "\(call.errors)")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let policy = try #require(decoder.decode(Report.self, from: Data(call.output.utf8)).policies.first)
        return (policy.intervals.map { $0.stepSeconds - $0.expertSeconds }, call.errors)
    }

    private func isHalfASecond(_ dense: [Double], _ count: Int) -> Bool {
        dense.count == count && dense.allSatisfy { abs($0 - 0.5) < 1e-9 }
    }

    /// The seconds of other intervals stand in for those that are gone.
    @Test func reportsThatAreGoneAreStoodInFor() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let gone = (0..<3).map { Self.interval($0, ranks: []) }
        let (dense, errors) = try simulate(gone + [Self.interval(3)])
        #expect(isHalfASecond(dense, 4), "\(dense)")
        #expect(errors.hasPrefix("Note: 3 of 4 intervals tell no seconds"), "\(errors)")
        let (none, note) = try simulate(gone)
        #expect(none.allSatisfy { abs($0) < 1e-9 } && note.contains("give --dense-seconds"), "\(none) \(note)")
        let (given, silence) = try simulate(gone, ["--dense-seconds", "0.5"])
        #expect(isHalfASecond(given, 3) && silence.isEmpty, "\(given) \(silence)")
    }

    /// How many ranks there were does not depend on what they say of their experts, nor on whether all have reported.
    @Test func ranksCountWithoutWork() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let (silent, _) = try simulate((0..<2).map { Self.interval($0, work: nil) })
        #expect(isHalfASecond(silent, 2), "\(silent)")
        let (partial, errors) = try simulate([Self.interval(0), Self.interval(1, ranks: [0])])
        #expect(isHalfASecond(partial, 2) && errors.isEmpty, "\(partial) \(errors)")
        // Two ranks, then four: the same work takes each of the first twice as long.
        let (grown, _) = try simulate([
            Self.interval(0, ranks: [0, 1], stepSeconds: 1.25), Self.interval(1, incarnation: 2),
        ])
        #expect(isHalfASecond(grown, 2), "\(grown)")
    }

    /// What the recorded run's own moves took is no other policy's.
    @Test func movesOfTheRunAreLeftOut() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let (dense, errors) = try simulate([Self.interval(0), Self.interval(1, revision: 0, stepSeconds: 9)])
        #expect(isHalfASecond(dense, 2) && errors.isEmpty, "\(dense) \(errors)")
    }

    /// A dictionary's values come in another order in every process, and sums depend on it.
    @Test func everyCallSaysTheSame() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = try trace([
            Self.interval(0, work: [101, 1_003, 10_007, 100_003], experts: [0.1, 0.2, 0.3, 0.7])
        ])
        let question = ["simulate", "--trace", path, "--policy", "load-balanced", "-o", "json"]
        let first = try CtlProgram(question).output
        for _ in 0..<8 { #expect(try CtlProgram(question).output == first) }
    }

    /// What numbers rest on stands beside them, on one number of ranks and on several.
    @Test func assumptionsAreTold() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        struct Assumptions: Decodable {
            struct Exchange: Decodable { var latencySeconds: Double, bytesPerSecond: Double }
            var ownership: String
            var memoryLimit: Int?
            var operationsPerSecond: Double
            var slowness: [Double]?
            var exchange: Exchange
            var exchangeBetweenNodes: Exchange?
            var denseSeconds: Double
            var planningSteps: Int
            var migrationBudgetBytes: Int?
            var warmUpIntervals: Int
        }
        struct Single: Decodable { var assumptions: Assumptions }
        struct Several: Decodable { var points: [Single] }
        let path = try trace([
            Self.interval(0, stepSeconds: 5), Self.interval(1, work: [500, 1000, 1000, 1000]),
        ])
        let asMeasured = [
            "simulate", "--trace", path, "--policy", "expert-parallel", "--latency", "0.5", "--bandwidth", "7e9",
            "--bandwidth-between-nodes", "3e9", "--planning-steps", "30", "--migration-budget", "12345",
            "--warm-up-intervals", "1", "-o", "json",
        ]
        let given = asMeasured + ["--operations-per-second", "5e9"]
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let limited = try CtlProgram(given + ["--memory-limit", "1000000000"]).output
        let one = try decoder.decode(Single.self, from: Data(limited.utf8)).assumptions
        #expect(one.ownership == "colocated" && one.memoryLimit == 1_000_000_000 && one.operationsPerSecond == 5e9)
        #expect(one.exchange.latencySeconds == 0.5 && one.exchange.bytesPerSecond == 7e9)
        #expect(one.exchangeBetweenNodes?.latencySeconds == 0.5 && one.exchangeBetweenNodes?.bytesPerSecond == 3e9)
        #expect(one.planningSteps == 30 && one.migrationBudgetBytes == 12345 && one.warmUpIntervals == 1)
        // Of what counts: not of the first interval.
        #expect(abs(one.denseSeconds - 0.5) < 1e-9)
        // A rate that is given is every rank's.
        #expect(one.slowness == nil)
        let measured = try CtlProgram(asMeasured).output
        let slowness = try #require(decoder.decode(Single.self, from: Data(measured.utf8)).assumptions.slowness)
        #expect(slowness.count == 4 && slowness[0] > 1 && slowness[1] < 1)
        let both = try CtlProgram(asMeasured + ["--ranks", "4", "--ranks", "2"]).output
        let points = try decoder.decode(Several.self, from: Data(both.utf8)).points.map(\.assumptions)
        #expect(points.map(\.slowness) == [slowness, nil] && points.map(\.memoryLimit) == [nil, nil])
        #expect(abs(points[1].denseSeconds - 1) < 1e-9)
    }

    /// Limits of the recorded ranks hold for these, and for no other number of them.
    @Test func recordedMemoryLimitsHold() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = try trace([Self.interval(0)], cluster: #","memory_limits":[1,1,1,1]"#)
        let question = ["simulate", "--trace", path, "--policy", "expert-parallel"]
        let recorded = try CtlProgram(question)
        #expect(recorded.status == 1 && recorded.errors.contains("limit of 1"), "\(recorded.errors)")
        for more in [["--ranks", "2"], ["--memory-limit", "1000000000"]] {
            #expect(try CtlProgram(question + more).status == 0, "\(more)")
        }
    }

    /// Unless a rate is given, which is every rank's: a slow one is as fast as the others then.
    @Test func slowRanksStaySlow() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = try trace([Self.interval(0, work: [1000, 1000, 1000, 500])])
        let question = [
            "simulate", "--trace", path, "--policy", "expert-parallel", "--bandwidth", "1e18", "--latency", "0", "-o",
            "json",
        ]
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        // The slow rank's 0.125 s are for 500 rows and neurons; 18·4 operations a row and neuron.
        let rates: [([String], Double)] = [([], 0.125 / 500), (["--operations-per-second", "72e5"], 1e-5)]
        for (more, neuronSeconds) in rates {
            let report = try decoder.decode(Report.self, from: Data(CtlProgram(question + more).output.utf8))
            let seconds = try #require(report.policies.first?.intervals.first?.expertSeconds)
            #expect(abs(seconds - 100 * 8 * neuronSeconds) < 1e-9, "\(seconds)")
        }
    }
}
