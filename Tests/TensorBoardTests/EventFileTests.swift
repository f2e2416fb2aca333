import Foundation
import TensorBoard
import TestSupport
import Testing

/// The real TensorBoard reads what is written.
@Suite final class EventFileTests {
    private let directory = FileManager.default.temporaryDirectory.appending(path: "events-\(UUID().uuidString)").path

    init() throws { try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false) }
    deinit { try? FileManager.default.removeItem(atPath: directory) }

    private func append(_ values: [String: Double], step: Int, to file: EventFile) throws {
        var summary = Summary()
        for (tag, value) in values { summary.add(tag, scalar: value) }
        try file.append(summary, step: step)
    }

    /// While the file is open, too.
    @Test func scalars() throws {
        var random = SeededGenerator(seed: TestRuns.seed())
        let file = try EventFile(directory: directory, firstStep: 1)
        var expected = [String: [[Double]]]()
        let tags = ["train/loss", "moe/load_balance/layer_0", "with blanks and ümlauts", "n"]
        // Varints of one byte, and of more.
        var step = 0
        for _ in 0..<50 {
            step += Int.random(in: 1...1 << Int.random(in: 0...40, using: &random), using: &random)
            var values = [String: Double]()
            for tag in tags where Bool.random(using: &random) {
                values[tag] = Double(Float(bitPattern: UInt32.random(in: 0...0x7F7F_FFFF, using: &random)))
                expected[tag, default: []].append([Double(step), values[tag]!])
            }
            try append(values, step: step, to: file)
        }
        #expect(try TensorBoardEvents(directory: directory).scalars == expected)
        for value in [Double.nan, .infinity] { try append(["n": value], step: step + 1, to: file) }
        let last = try #require(try TensorBoardEvents(directory: directory).scalars["n"]?.suffix(2).map { $0[1] })
        #expect(last[0].isNaN && last[1] == .infinity)
    }

    @Test func histograms() throws {
        let file = try EventFile(directory: directory, firstStep: 1)
        let samples: [[Double]] = [
            (0...600).map { 1 + Double($0) / 10 }, [5, 5, 5], [0, 0, 0, 3e9], [7],
        ]
        for (index, values) in samples.enumerated() {
            var summary = Summary()
            summary.add("load", histogram: try #require(Histogram(values)))
            try file.append(summary, step: index)
        }
        let found = try #require(try TensorBoardEvents(directory: directory).histograms["load"])
        #expect(found.map(\.step) == Array(samples.indices))
        for (histogram, values) in zip(found, samples) {
            #expect(histogram.least == values.min() && histogram.largest == values.max())
            #expect(histogram.count == Double(values.count) && histogram.sum == values.reduce(0, +))
            #expect(histogram.limits == histogram.limits.sorted() && histogram.limits.last == values.max())
            #expect(histogram.counts.reduce(0, +) == Double(values.count))
        }
        // Each bucket of the first has 2.0 of its 60.0, the last bucket its upper end as well.
        #expect(found[0].counts == [Double](repeating: 20, count: 29) + [21])
        #expect(found[2].counts == [3] + [Double](repeating: 0, count: 28) + [1])
        #expect(Histogram([]) == nil && Histogram([1, .nan]) == nil)
    }

    /// Steps that are done again count once, whatever the clocks of the machines say.
    @Test func aRestartReplacesStepsThatItDoesAgain() throws {
        let first = try EventFile(directory: directory, firstStep: 1)
        for step in 1...9 { try append(["a": Double(step), "b": 1], step: step, to: first) }
        // As by a machine whose clock is ahead.
        let ahead = directory + "/events.out.tfevents.4000000000.elsewhere.7"
        try FileManager.default.moveItem(atPath: first.path, toPath: ahead)
        for start in [7, 5] {
            let next = try EventFile(directory: directory, firstStep: start)
            #expect(next.path > ahead)
            for step in start...start + 1 { try append(["a": Double(100 * start + step)], step: step, to: next) }
        }
        let found = try TensorBoardEvents(directory: directory).scalars
        #expect(found["a"] == [[1, 1], [2, 2], [3, 3], [4, 4], [5, 505], [6, 506]])
        // Also what the later starts had nothing of.
        #expect(found["b"] == (1...4).map { [Double($0), 1] })
    }

    /// TensorBoard checks the sums, so what it reads has the right ones.
    @Test func damageIsNoticed() throws {
        let file = try EventFile(directory: directory, firstStep: 1)
        for step in 1...3 { try append(["a": 1], step: step, to: file) }
        var bytes = try Data(contentsOf: URL(fileURLWithPath: file.path))
        bytes[bytes.count - 6] ^= 1
        try bytes.write(to: URL(fileURLWithPath: file.path))
        #expect(try TensorBoardEvents(directory: directory).scalars["a"]?.count == 2)
    }

    @Test func errorsNameThePath() throws {
        #expect {
            _ = try EventFile(directory: self.directory + "/nowhere", firstStep: 1)
        } throws: {
            "\($0)".contains(self.directory + "/nowhere")
        }
    }
}
