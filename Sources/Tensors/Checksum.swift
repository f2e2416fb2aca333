/// A number that tells whether two ranks hold the same entries.
public enum Checksum {
    /// Depends on every bit of `x` and on the order of its entries; one changed word always changes it. Not proof against
    /// purpose. Runs at the speed of memory.
    /// - Parameter x: contiguous.
    public static func of(_ x: Tensor) -> UInt64 {
        precondition(x.isContiguous, "a checksum needs contiguous entries")
        return of(UnsafeRawPointer(x.pointer).assumingMemoryBound(to: UInt32.self), count: x.count)
    }

    /// 64 polynomials in an odd number, one for each lane, so that each step can be undone and loses nothing.
    private static func of(_ words: UnsafePointer<UInt32>, count: Int) -> UInt64 {
        typealias Words = SIMD16<UInt32>
        let factor = Words(repeating: 0x9E37_79B1)
        var (first, second, third, fourth) = (Words.zero, Words.zero, Words.zero, Words.zero)
        let base = UnsafeRawPointer(words)
        var i = 0
        while i &+ 64 <= count {
            let place = base + i &* 4
            first = first &* factor &+ place.loadUnaligned(as: Words.self)
            second = second &* factor &+ (place + 64).loadUnaligned(as: Words.self)
            third = third &* factor &+ (place + 128).loadUnaligned(as: Words.self)
            fourth = fourth &* factor &+ (place + 192).loadUnaligned(as: Words.self)
            i &+= 64
        }
        var sum = mixed(UInt64(truncatingIfNeeded: count))
        for lanes in [first, second, third, fourth] {
            for lane in lanes.indices { sum = mixed(sum ^ UInt64(lanes[lane])) }
        }
        while i < count {
            sum = mixed(sum ^ UInt64(words[i]))
            i &+= 1
        }
        return sum
    }

    /// The finalizer of SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195), which can be undone too.
    private static func mixed(_ value: UInt64) -> UInt64 {
        var z = value &+ 0x9E37_79B9_7F4A_7C15
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
