import CVectors

/// The vector that kernels work on: one register with AVX-512, several with less.
typealias Lanes = SIMD16<Float>
typealias Entries = UnsafePointer<Float>
typealias MutableEntries = UnsafeMutablePointer<Float>

extension SIMD16<Float> {
    /// The 16 entries at `entries`.
    @inline(__always)
    init(_ entries: Entries) {
        self = UnsafeRawPointer(entries).loadUnaligned(as: Self.self)
    }

    /// The first `count` (below 16) entries at `entries`, `fill` in the other lanes.
    @inline(__always)
    init(_ entries: Entries, first count: Int, fill: Float = 0) {
        self = lanes_load_first(entries, count, fill)
    }

    @inline(__always)
    func store(to entries: MutableEntries) {
        UnsafeMutableRawPointer(entries).storeBytes(of: self, as: Self.self)
    }

    /// Stores the first `count` (below 16) lanes.
    @inline(__always)
    func store(to entries: MutableEntries, first count: Int) {
        lanes_store_first(self, entries, count)
    }

    /// The sum of the lanes, in a fixed order.
    @inline(__always)
    var total: Float { lanes_sum(self) }

    /// The largest lane; unspecified when a lane is NaN.
    @inline(__always)
    var largest: Float { lanes_maximum(self) }

    @inline(__always)
    var squareRoots: Self { lanes_square_root(self) }
}

/// a·b + c, fused where the target can.
@inline(__always)
func multiplyAdd(_ a: Lanes, _ b: Lanes, _ c: Lanes) -> Lanes { lanes_multiply_add(a, b, c) }

/// The larger of each lane; unspecified where one is NaN.
@inline(__always)
func larger(_ a: Lanes, _ b: Lanes) -> Lanes { a.replacing(with: b, where: b .> a) }

/// y = f(x), entry by entry.
@inline(__always)
func map(_ x: Entries, into y: MutableEntries, count: Int, _ f: (Lanes) -> Lanes) {
    var i = 0
    while i &+ 16 <= count {
        f(Lanes(x + i)).store(to: y + i)
        i &+= 16
    }
    let rest = count &- i
    if rest > 0 { f(Lanes(x + i, first: rest)).store(to: y + i, first: rest) }
}

/// y = f(a, b), entry by entry.
@inline(__always)
func map(_ a: Entries, _ b: Entries, into y: MutableEntries, count: Int, _ f: (Lanes, Lanes) -> Lanes) {
    var i = 0
    while i &+ 16 <= count {
        f(Lanes(a + i), Lanes(b + i)).store(to: y + i)
        i &+= 16
    }
    let rest = count &- i
    if rest > 0 { f(Lanes(a + i, first: rest), Lanes(b + i, first: rest)).store(to: y + i, first: rest) }
}

/// Σ f(a, b), in an order that depends on the count alone. f(0, 0) must be 0.
@inline(__always)
func sum(_ a: Entries, _ b: Entries, count: Int, _ f: (_ sum: Lanes, Lanes, Lanes) -> Lanes) -> Float {
    var (first, second, third, fourth) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
    var i = 0
    while i &+ 64 <= count {
        first = f(first, Lanes(a + i), Lanes(b + i))
        second = f(second, Lanes(a + i + 16), Lanes(b + i + 16))
        third = f(third, Lanes(a + i + 32), Lanes(b + i + 32))
        fourth = f(fourth, Lanes(a + i + 48), Lanes(b + i + 48))
        i &+= 64
    }
    while i &+ 16 <= count {
        first = f(first, Lanes(a + i), Lanes(b + i))
        i &+= 16
    }
    let rest = count &- i
    if rest > 0 { second = f(second, Lanes(a + i, first: rest), Lanes(b + i, first: rest)) }
    return ((first + second) + (third + fourth)).total
}

/// Σ a·b.
@inline(__always)
func dotProduct(_ a: Entries, _ b: Entries, count: Int) -> Float {
    sum(a, b, count: count) { multiplyAdd($1, $2, $0) }
}
