/// e^x of each lane, within 2 units in the last place over the whole range, denormal results included.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2; e^r by the minimax polynomial of Cephes' `expf` (Moshier, netlib.org/cephes). Beyond
/// the range the result is 0 or infinity; NaN stays NaN.
@inline(always)
func exponential(_ argument: Lanes) -> Lanes {
    // Comparisons are false for NaN, so it passes through. At the bounds the result has long become 0 and infinity.
    var x = argument.replacing(with: 90, where: argument .> 90)
    x = x.replacing(with: -105, where: x .< -105)

    // Adding 1.5·2²³ leaves the nearest integer in the low bits of the significand.
    let magic: Float = 12_582_912
    let shifted = multiplyAdd(x, Lanes(repeating: 1.442_695_04), Lanes(repeating: magic))
    let n = shifted - magic
    // ln 2 in two parts; the first has 9 bits, so that n times it is exact.
    var r = multiplyAdd(n, Lanes(repeating: -0.693_359_375), x)
    r = multiplyAdd(n, Lanes(repeating: 2.121_944_40e-4), r)

    var p = Lanes(repeating: 1.987_569_15e-4)
    p = multiplyAdd(p, r, Lanes(repeating: 1.398_199_95e-3))
    p = multiplyAdd(p, r, Lanes(repeating: 8.333_451_9e-3))
    p = multiplyAdd(p, r, Lanes(repeating: 4.166_579_6e-2))
    p = multiplyAdd(p, r, Lanes(repeating: 1.666_666_55e-1))
    p = multiplyAdd(p, r, Lanes(repeating: 5.000_000_12e-1))
    p = multiplyAdd(p, r * r, r + 1)

    // Times 2ⁿ in two steps, because 2ⁿ alone need not be a normal number.
    let exponent = unsafeBitCast(shifted, to: SIMD16<Int32>.self) &- Int32(bitPattern: magic.bitPattern)
    let half = exponent &>> 1
    let low = unsafeBitCast((half &+ 127) &<< 23, to: Lanes.self)
    let high = unsafeBitCast((exponent &- half &+ 127) &<< 23, to: Lanes.self)
    return p * low * high
}

/// 1 / (1 + e^-x) of each lane.
@inline(always)
func sigmoid(_ x: Lanes) -> Lanes { 1 / (1 + exponential(-x)) }

/// y = e^x of each entry. Kernels use `exponential` on lanes; this is its way out for tests.
package func exponentials(of x: Tensor, into y: Tensor) {
    precondition(x.hasShape(of: y), "shapes differ")
    let (input, output) = (x.matrix, y.matrix)
    for row in 0..<x.rows { map(input.row(row), into: output.row(row), count: x.columns, exponential) }
}
