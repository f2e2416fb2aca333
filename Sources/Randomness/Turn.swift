/// Sine and cosine of a part of a full turn.
package enum Turn {
    /// sin 2πx and cos 2πx for x in 0 ..< 1, with an error below 1e-15; both in the time of the C library's one.
    package static func sineAndCosine(_ x: Double) -> (sine: Double, cosine: Double) {
        // The nearest quarter turn is taken off exactly, so that Taylor's series begin within an eighth of a turn. There
        // the first terms left out, x^17/17! and x^18/18!, are below 1e-16.
        let quarter = (4 * x).rounded()
        let angle = (x - quarter / 4) * (2 * .pi)
        let square = angle * angle
        var sine = -1 / 1_307_674_368_000.0
        sine = sine * square + 1 / 6_227_020_800
        sine = sine * square - 1 / 39_916_800
        sine = sine * square + 1 / 362_880
        sine = sine * square - 1 / 5040
        sine = sine * square + 1 / 120
        sine = sine * square - 1 / 6
        sine = angle + angle * square * sine
        var cosine = 1 / 20_922_789_888_000.0
        cosine = cosine * square - 1 / 87_178_291_200
        cosine = cosine * square + 1 / 479_001_600
        cosine = cosine * square - 1 / 3_628_800
        cosine = cosine * square + 1 / 40_320
        cosine = cosine * square - 1 / 720
        cosine = cosine * square + 1 / 24
        cosine = cosine * square - 1 / 2
        cosine = cosine * square + 1
        // Chosen without branches, which a processor could not predict here.
        let index = Int(quarter)
        let isSwapped = index & 1 != 0
        let signs = (Double(1 - (index & 2)), Double(1 - (index + 1) & 2))
        return (signs.0 * (isSwapped ? cosine : sine), signs.1 * (isSwapped ? sine : cosine))
    }
}
