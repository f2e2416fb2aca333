import Foundation

/// Rotary position embedding (Su et al. 2021, arXiv:2104.09864) in the convention of Hugging Face's Mixtral: entry i of a head
/// is paired with entry i + d/2, and turned by position · base^(−2i/d).
public struct RotaryEmbedding {
    /// d, even.
    public let headDimension: Int
    public let maximumPositions: Int
    /// (maximumPositions, d/2)
    private let cosines: Tensor
    private let sines: Tensor

    public init(headDimension: Int, base: Double, maximumPositions: Int) {
        precondition(headDimension > 0 && headDimension % 2 == 0, "rotation needs pairs of entries")
        self.headDimension = headDimension
        self.maximumPositions = maximumPositions
        let half = headDimension / 2
        // Frequencies and angles are rounded to fp32 at each step as in Hugging Face's, so that long positions get the same angles.
        let frequencies = (0..<half).map { 1 / powf(Float(base), Float(2 * $0) / Float(headDimension)) }
        var (cosines, sines) = ([Float](), [Float]())
        cosines.reserveCapacity(maximumPositions * half)
        sines.reserveCapacity(maximumPositions * half)
        for position in 0..<maximumPositions {
            for frequency in frequencies {
                let angle = Double(Float(position) * frequency)
                cosines.append(Float(cos(angle)))
                sines.append(Float(sin(angle)))
            }
        }
        self.cosines = Tensor(cosines, rows: maximumPositions, columns: half)
        self.sines = Tensor(sines, rows: maximumPositions, columns: half)
    }

    /// Turns each head of each row in place; row r has position r mod L.
    /// - Parameters:
    ///   - x: (S·L, H·d)
    ///   - heads: H
    ///   - sequenceLength: L, at most `maximumPositions`.
    ///   - inverse: turn back; this is the backward pass.
    public func apply(_ x: Tensor, heads: Int, sequenceLength: Int, inverse: Bool = false) {
        precondition(x.columns == heads * headDimension, "columns are not heads of this dimension")
        precondition(sequenceLength <= maximumPositions, "sequence longer than the positions")
        precondition(x.rows == 0 || (sequenceLength > 0 && x.rows % sequenceLength == 0), "rows are not sequences")
        let (half, dimension, entries) = (headDimension / 2, headDimension, x.matrix)
        let (cosines, sines) = (cosines.matrix, sines.matrix)
        let sign: Float = inverse ? -1 : 1
        Threads.split(x.rows, cost: x.columns) { rows in
            for row in rows {
                let position = row % sequenceLength
                for head in 0..<heads {
                    let first = entries.row(row) + head &* dimension
                    Self.rotate(
                        first, first + half, cosines: cosines.row(position), sines: sines.row(position), sign: sign,
                        count: half)
                }
            }
        }
    }

    /// (a, b) becomes (a·cos − b·sin, b·cos + a·sin).
    @inline(always)
    private static func rotate(
        _ a: MutableEntries, _ b: MutableEntries, cosines: Entries, sines: Entries, sign: Float, count: Int
    ) {
        var i = 0
        while i &+ 16 <= count {
            let (x, y, cosine, sine) = (Lanes(a + i), Lanes(b + i), Lanes(cosines + i), Lanes(sines + i) * sign)
            multiplyAdd(x, cosine, -y * sine).store(to: a + i)
            multiplyAdd(y, cosine, x * sine).store(to: b + i)
            i &+= 16
        }
        let rest = count &- i
        if rest > 0 {
            let (x, y) = (Lanes(a + i, first: rest), Lanes(b + i, first: rest))
            let (cosine, sine) = (Lanes(cosines + i, first: rest), Lanes(sines + i, first: rest) * sign)
            multiplyAdd(x, cosine, -y * sine).store(to: a + i, first: rest)
            multiplyAdd(y, cosine, x * sine).store(to: b + i, first: rest)
        }
    }
}
