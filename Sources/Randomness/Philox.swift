/// Philox4x32 with 10 rounds: a bijection of 128-bit counters under a 64-bit key whose values are random numbers.
///
/// Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3" (doi:10.1145/2063384.2063405).
package enum Philox {
    /// The block of four words at `counter` under `key`.
    package static func block(counter: SIMD4<UInt32>, key: SIMD2<UInt32>) -> SIMD4<UInt32> {
        // Scalars: taking vectors apart and putting them together in each round costs more than the arithmetic.
        var (a, b, c, d) = (counter[0], counter[1], counter[2], counter[3])
        var (low, high) = (key[0], key[1])
        for _ in 0..<10 {
            let first = UInt64(a) &* 0xD251_1F53
            let second = UInt64(c) &* 0xCD9E_8D57
            a = UInt32(truncatingIfNeeded: second >> 32) ^ b ^ low
            b = UInt32(truncatingIfNeeded: second)
            c = UInt32(truncatingIfNeeded: first >> 32) ^ d ^ high
            d = UInt32(truncatingIfNeeded: first)
            // The Weyl sequence of the key schedule: golden ratio and √3 - 1.
            low &+= 0x9E37_79B9
            high &+= 0xBB67_AE85
        }
        return SIMD4(a, b, c, d)
    }
}
