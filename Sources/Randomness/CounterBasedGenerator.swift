import Foundation

/// Random numbers by index: the number at an index depends on the seed, the purpose, the keys and the index alone, never on
/// what was drawn before or on which rank draws. So all ranks agree, whatever the world size, and a resumed run goes on as
/// the undisturbed one.
public struct CounterBasedGenerator: Sendable {
    private let key: SIMD2<UInt32>
    private let stream: UInt64

    /// - Parameters:
    ///   - purpose: what the numbers are for, so that no two uses of one seed share numbers.
    ///   - keys: for example step and layer.
    public init(seed: UInt64, purpose: String, keys: [Int] = []) {
        var state = seed
        func absorb(_ word: UInt64) { state = Self.mix(state ^ Self.mix(word &+ 0x9E37_79B9_7F4A_7C15)) }
        absorb(UInt64(purpose.utf8.count))
        for byte in purpose.utf8 { absorb(UInt64(byte)) }
        for key in keys { absorb(UInt64(bitPattern: Int64(key))) }
        stream = state
        let key = Self.mix(state)
        self.key = SIMD2(UInt32(truncatingIfNeeded: key), UInt32(truncatingIfNeeded: key >> 32))
    }

    /// The finalizer of SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195).
    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    private func block(at index: UInt64) -> SIMD4<UInt32> {
        Philox.block(
            counter: SIMD4(
                UInt32(truncatingIfNeeded: index), UInt32(truncatingIfNeeded: index >> 32),
                UInt32(truncatingIfNeeded: stream), UInt32(truncatingIfNeeded: stream >> 32)),
            key: key)
    }

    /// 64 random bits.
    public func bits(at index: UInt64) -> UInt64 {
        let block = block(at: index)
        return UInt64(block[1]) << 32 | UInt64(block[0])
    }

    /// Uniform in 0 ..< 1, of 53 bits.
    public func uniform(at index: UInt64) -> Double {
        Double(bits(at: index) >> 11) * 0x1p-53
    }

    /// Uniform in 0 ..< bound, by multiplication (Lemire 2019, doi:10.1145/3230636); the bias is below bound / 2^64.
    public func integer(at index: UInt64, below bound: Int) -> Int {
        precondition(bound > 0, "no integer is below \(bound)")
        return Int(bits(at: index).multipliedFullWidth(by: UInt64(bound)).high)
    }

    /// Normal with mean 0 and variance 1.
    public func normal(at index: UInt64) -> Double { normalPair(at: index).0 }

    /// Two independent normal numbers with mean 0 and variance 1, in little more than the time of one; the first is
    /// `normal(at: index)` (Box and Muller 1958, doi:10.1214/aoms/1177706645).
    public func normalPair(at index: UInt64) -> (Double, Double) {
        let block = block(at: index)
        let first = Double((UInt64(block[1]) << 32 | UInt64(block[0])) >> 11) * 0x1p-53
        let second = Double((UInt64(block[3]) << 32 | UInt64(block[2])) >> 11) * 0x1p-53
        let radius = (-2 * log(1 - first)).squareRoot()
        let (sine, cosine) = Turn.sineAndCosine(second)
        return (radius * cosine, radius * sine)
    }
}
