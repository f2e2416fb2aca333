import ControlTestSupport
import CoordinatorCore
import TestSupport
import Testing

struct SequenceWindowTests {
    /// Against a set that forgets nothing.
    @Test func eachSequenceIsNewOnce() {
        let seed = TestRuns.seed()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            var window = SequenceWindow()
            var applied = Set<Int>()
            var next = 1
            for _ in 0..<200 {
                next += Int.random(in: 0...3, using: &random)
                let jump = Int.random(in: 0..<50, using: &random) == 0 ? 100 : 0
                let sequence = max(1, next + jump - Int.random(in: 0...90, using: &random))
                next = max(next, sequence)
                let expected: SequenceWindow.Verdict =
                    sequence <= window.highest - SequenceWindow.size
                    ? .tooOld : applied.contains(sequence) ? .repeated : .new
                #expect(window.verdict(on: sequence) == expected, "seed \(seed), sequence \(sequence)")
                if expected == .new {
                    window.apply(sequence)
                    applied.insert(sequence)
                }
                #expect(window.highest == applied.max())
            }
        }
    }

    @Test func theEdgesOfTheWindow() {
        var window = SequenceWindow()
        window.apply(1)
        window.apply(64)
        #expect(window.verdict(on: 1) == .repeated)
        #expect(window.verdict(on: 2) == .new)
        window.apply(65)
        #expect(window.verdict(on: 1) == .tooOld)
        window.apply(1 << 53)
        #expect(window.verdict(on: 65) == .tooOld)
        #expect(window.applied == 1)
    }
}
