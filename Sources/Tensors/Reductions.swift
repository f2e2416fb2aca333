/// One number of a whole tensor.
public enum Reductions {
    /// Σ x², in fp64 and in an order that depends on shape and layout alone. Not finite when an entry is not.
    public static func sumOfSquares(_ x: Tensor) -> Double {
        let blocks = Blocks(x)
        let entries = x.matrix
        let sums = [Double](unsafeUninitializedCapacity: blocks.count) { buffer, initialized in
            let sums = buffer
            Threads.split(blocks.count, cost: Blocks.entries) { range in
                for block in range {
                    let (row, column, count) = blocks.place(of: block)
                    sums.initializeElement(at: block, to: sumOfSquares(entries.row(row) + column, count: count))
                }
            }
            initialized = blocks.count
        }
        return sums.reduce(0, +)
    }

    /// Whether no entry is infinite or NaN.
    public static func allFinite(_ x: Tensor) -> Bool {
        let blocks = Blocks(x)
        let entries = x.matrix
        let finite = [Bool](unsafeUninitializedCapacity: blocks.count) { buffer, initialized in
            let finite = buffer
            Threads.split(blocks.count, cost: Blocks.entries) { range in
                for block in range {
                    let (row, column, count) = blocks.place(of: block)
                    finite.initializeElement(at: block, to: allFinite(entries.row(row) + column, count: count))
                }
            }
            initialized = blocks.count
        }
        return finite.allSatisfy { $0 }
    }

    /// A tensor cut into runs of neighbouring entries, the same whatever the number of threads.
    private struct Blocks {
        static let entries = 16_384
        private let length: Int
        private let perRow: Int
        let count: Int

        init(_ x: Tensor) {
            length = x.isContiguous ? x.count : x.columns
            perRow = (length + Self.entries - 1) / Self.entries
            count = perRow * (x.isContiguous ? 1 : x.rows)
        }

        @inline(always)
        func place(of block: Int) -> (row: Int, column: Int, count: Int) {
            let column = block % perRow * Self.entries
            return (block / perRow, column, min(Self.entries, length - column))
        }
    }

    @inline(always)
    private static func sumOfSquares(_ x: Entries, count: Int) -> Double {
        var (low, high) = (SIMD8<Double>.zero, SIMD8<Double>.zero)
        @inline(always)
        func add(_ lanes: Lanes) {
            let (first, second) = (SIMD8<Double>(lanes.lowHalf), SIMD8<Double>(lanes.highHalf))
            low += first * first
            high += second * second
        }
        var i = 0
        while i &+ 16 <= count {
            add(Lanes(x + i))
            i &+= 16
        }
        if i < count { add(Lanes(x + i, first: count &- i)) }
        return (low + high).sum()
    }

    @inline(always)
    private static func allFinite(_ x: Entries, count: Int) -> Bool {
        // x − x is 0 for finite entries and NaN for the others, and NaN stays in the sum.
        var (first, second) = (Lanes.zero, Lanes.zero)
        var i = 0
        while i &+ 32 <= count {
            first += Lanes(x + i) - Lanes(x + i)
            second += Lanes(x + i + 16) - Lanes(x + i + 16)
            i &+= 32
        }
        if i &+ 16 <= count {
            first += Lanes(x + i) - Lanes(x + i)
            i &+= 16
        }
        if i < count {
            let rest = Lanes(x + i, first: count &- i)
            second += rest - rest
        }
        return (first + second).total == 0
    }
}
