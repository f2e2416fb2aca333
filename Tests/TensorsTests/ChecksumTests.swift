import Randomness
import Tensors
import TestSupport
import Testing

@Suite struct ChecksumTests {
    private func entries(_ count: Int, seed: UInt64) -> [Float] {
        let generator = CounterBasedGenerator(seed: seed, purpose: "checksum")
        return (0..<count).map { Float(generator.normal(at: UInt64($0))) }
    }

    private func checksum(_ values: [Float]) -> UInt64 {
        Checksum.of(Tensor(values, rows: 1, columns: values.count))
    }

    /// Any bit of any entry, and any two entries that change places, at every length around a block.
    @Test func everyChangeIsSeen() {
        let seed = TestRuns.seed("checksums")
        for count in [1, 2, 15, 16, 63, 64, 65, 128, 200] {
            let values = entries(count, seed: seed)
            let expected = checksum(values)
            #expect(checksum(values) == expected)
            for index in 0..<count {
                for bit in [0, 1, 15, 30, 31] {
                    var changed = values
                    changed[index] = Float(bitPattern: values[index].bitPattern ^ 1 << bit)
                    #expect(checksum(changed) != expected, "entry \(index), bit \(bit) of \(count) (seed \(seed))")
                }
                var swapped = values
                swapped.swapAt(index, (index + 64) % count)
                if swapped != values { #expect(checksum(swapped) != expected, "entry \(index) of \(count)") }
                swapped = values
                swapped.swapAt(index, (index + 1) % count)
                if swapped != values { #expect(checksum(swapped) != expected, "entry \(index) of \(count)") }
            }
        }
    }

    @Test func lengthCountsAndShapeDoesNot() {
        #expect(Set((0..<200).map { checksum([Float](repeating: 0, count: $0)) }).count == 200)
        let values = entries(60, seed: 1)
        #expect(Checksum.of(Tensor(values, rows: 6, columns: 10)) == checksum(values))
    }

    /// Bits count, not values.
    @Test func zerosAndNaNsAreTold() {
        #expect(checksum([0]) != checksum([-0.0]))
        #expect(checksum([.nan]) == checksum([.nan]))
    }
}
