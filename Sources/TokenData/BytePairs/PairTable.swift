/// A pair of tokens, one after the other.
struct TokenPair: Hashable, Comparable {
    /// The left token in the upper half.
    let key: UInt64

    @inline(__always)
    init(_ left: Int32, _ right: Int32) {
        key = UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    var left: Int32 { Int32(truncatingIfNeeded: key >> 32) }
    var right: Int32 { Int32(truncatingIfNeeded: key) }

    static func < (a: TokenPair, b: TokenPair) -> Bool { a.key < b.key }
}

/// Values of pairs of tokens: a hash table with linear probing, several times as fast as a `Dictionary`.
struct PairTable<Value: BitwiseCopyable & Sendable>: Sendable {
    /// No pair: tokens are below 2³¹.
    private static var empty: UInt64 { .max }

    private var keys: [UInt64]
    private var values: [Value]
    private var bits: Int
    private let placeholder: Value
    private(set) var count = 0

    /// - Parameter placeholder: any value, for places without a pair.
    init(placeholder: Value, capacity: Int = 8) {
        self.placeholder = placeholder
        bits = 4
        while 1 << bits < 2 * capacity { bits += 1 }
        keys = [UInt64](repeating: Self.empty, count: 1 << bits)
        values = [Value](repeating: placeholder, count: 1 << bits)
    }

    subscript(pair: TokenPair) -> Value? {
        @inline(__always) get {
            let place = place(of: pair)
            return keys[place] == pair.key ? values[place] : nil
        }
    }

    /// Changes the value of `pair`, which becomes the placeholder first when there is none.
    @inline(__always)
    mutating func update(_ pair: TokenPair, _ change: (inout Value) -> Void) {
        var place = place(of: pair)
        if keys[place] != pair.key {
            if 2 * (count + 1) > keys.count {
                grow()
                place = self.place(of: pair)
            }
            keys[place] = pair.key
            count += 1
        }
        change(&values[place])
    }

    @inline(__always)
    private func place(of pair: TokenPair) -> Int {
        let mask = keys.count - 1
        var place = Int(truncatingIfNeeded: (pair.key &* 0x9E37_79B9_7F4A_7C15) >> UInt64(64 - bits))
        while keys[place] != pair.key && keys[place] != Self.empty { place = (place + 1) & mask }
        return place
    }

    private mutating func grow() {
        let (oldKeys, oldValues) = (keys, values)
        bits += 1
        keys = [UInt64](repeating: Self.empty, count: 1 << bits)
        values = [Value](repeating: placeholder, count: 1 << bits)
        for (key, value) in zip(oldKeys, oldValues) where key != Self.empty {
            let place = place(of: TokenPair(key: key))
            keys[place] = key
            values[place] = value
        }
    }

    /// Calls `body` with each pair, in no order.
    func forEach(_ body: (TokenPair, Value) -> Void) {
        for (key, value) in zip(keys, values) where key != Self.empty { body(TokenPair(key: key), value) }
    }
}

extension TokenPair {
    fileprivate init(key: UInt64) { self.key = key }
}
