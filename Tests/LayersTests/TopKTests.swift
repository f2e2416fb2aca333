import Layers
import Randomness
import Testing

@Suite struct TopKTests {
    private static func select(_ values: [Float], columns: Int, k: Int) -> (indices: [Int32], selected: [Float]) {
        let rows = values.count / columns
        var indices = [Int32](repeating: -1, count: rows * k)
        var selected = [Float](repeating: 0, count: rows * k)
        var indexSpan = indices.mutableSpan
        var selectedSpan = selected.mutableSpan
        TopK.select(values.span, columns: columns, k: k, indices: &indexSpan, selected: &selectedSpan)
        return (indices, selected)
    }

    @Test func equalEntriesGoByIndex() {
        #expect(Self.select([1, 3, 3, 2, 3], columns: 5, k: 2).indices == [1, 2])
        #expect(Self.select([0, 0, 0, 0], columns: 4, k: 3).indices == [0, 1, 2])
        #expect(Self.select([1, 1, 2, 2], columns: 4, k: 3).indices == [2, 3, 0])
        #expect(Self.select([5, 7], columns: 1, k: 1).indices == [0, 0])
    }

    @Test(arguments: [(1, 1), (4, 2), (8, 2), (8, 8), (64, 6), (256, 8)])
    func agreesWithSorting(columns: Int, k: Int) {
        let seed: UInt64 = 31
        let generator = CounterBasedGenerator(seed: seed, purpose: "values", keys: [columns, k])
        // Few different values, so that ties are common.
        let values = (0..<200 * columns).map { Float(generator.integer(at: UInt64($0), below: 2 * columns)) }
        let found = Self.select(values, columns: columns, k: k)
        for row in 0..<200 {
            let entries = Array(values[row * columns..<(row + 1) * columns])
            let sorted = entries.indices.sorted {
                entries[$0] != entries[$1] ? entries[$0] > entries[$1] : $0 < $1
            }
            #expect(found.indices[row * k..<(row + 1) * k].map(Int.init) == Array(sorted.prefix(k)), "seed \(seed)")
            #expect(Array(found.selected[row * k..<(row + 1) * k]) == sorted.prefix(k).map { entries[$0] })
        }
    }

    @Test func notNumbersYieldDifferentIndices() {
        let not = Float.nan
        for values in [[not, not, not, not], [1, not, 2, not], [not, 1, 2, 3], [3, 2, 1, not]] {
            let indices = Self.select(values, columns: 4, k: 3).indices
            #expect(Set(indices).count == 3 && indices.allSatisfy { (0..<4).contains($0) }, "\(values)")
        }
    }
}
