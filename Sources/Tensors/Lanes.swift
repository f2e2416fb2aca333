import CVectors

/// The vector that kernels work on: one register with AVX-512, several with less.
typealias Lanes = SIMD16<Float>
typealias Entries = UnsafePointer<Float>
typealias MutableEntries = UnsafeMutablePointer<Float>

extension SIMD16<Float> {
    /// The 16 entries at `entries`.
    @inline(always)
    init(_ entries: Entries) {
        self = UnsafeRawPointer(entries).loadUnaligned(as: Self.self)
    }

    /// The first `count` (below 16) entries at `entries`, `fill` in the other lanes.
    @inline(always)
    init(_ entries: Entries, first count: Int, fill: Float = 0) {
        self = lanes_load_first(entries, count, fill)
    }

    @inline(always)
    func store(to entries: MutableEntries) {
        UnsafeMutableRawPointer(entries).storeBytes(of: self, as: Self.self)
    }

    /// Stores the first `count` (below 16) lanes.
    @inline(always)
    func store(to entries: MutableEntries, first count: Int) {
        lanes_store_first(self, entries, count)
    }

    /// The sum of the lanes, in a fixed order.
    @inline(always)
    var total: Float { lanes_sum(self) }

    /// The largest lane; unspecified when a lane is NaN.
    @inline(always)
    var largest: Float { lanes_maximum(self) }

    @inline(always)
    var squareRoots: Self { lanes_square_root(self) }
}

/// a·b + c, fused where the target can.
@inline(always)
func multiplyAdd(_ a: Lanes, _ b: Lanes, _ c: Lanes) -> Lanes { lanes_multiply_add(a, b, c) }

/// The larger of each lane; unspecified where one is NaN.
@inline(always)
func larger(_ a: Lanes, _ b: Lanes) -> Lanes { a.replacing(with: b, where: b .> a) }

// The functions below take local functions that are `@inline(always)`; closures would be called, vector by vector.

/// y = f(x), entry by entry.
@inline(always)
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
@inline(always)
func map(_ a: Entries, _ b: Entries, into y: MutableEntries, count: Int, _ f: (Lanes, Lanes) -> Lanes) {
    var i = 0
    while i &+ 16 <= count {
        f(Lanes(a + i), Lanes(b + i)).store(to: y + i)
        i &+= 16
    }
    let rest = count &- i
    if rest > 0 { f(Lanes(a + i, first: rest), Lanes(b + i, first: rest)).store(to: y + i, first: rest) }
}

/// y = x·factor.
@inline(always)
func writeScaled(_ x: Entries, by factor: Float, into y: MutableEntries, count: Int) {
    @inline(always)
    func scaled(_ x: Lanes) -> Lanes { x * factor }
    map(x, into: y, count: count, scaled)
}

/// y += x·factor.
@inline(always)
func addScaled(_ x: Entries, by factor: Float, into y: MutableEntries, count: Int) {
    @inline(always)
    func sum(_ x: Lanes, _ y: Lanes) -> Lanes { multiplyAdd(x, Lanes(repeating: factor), y) }
    map(x, y, into: y, count: count, sum)
}

/// y += x.
@inline(always)
func addEntries(_ x: Entries, into y: MutableEntries, count: Int) {
    @inline(always)
    func sum(_ x: Lanes, _ y: Lanes) -> Lanes { x + y }
    map(x, y, into: y, count: count, sum)
}

/// Σ a·b, in an order that depends on the count alone.
@inline(always)
func dotProduct(_ a: Entries, _ b: Entries, count: Int) -> Float {
    var (first, second, third, fourth) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
    var i = 0
    while i &+ 64 <= count {
        first = multiplyAdd(Lanes(a + i), Lanes(b + i), first)
        second = multiplyAdd(Lanes(a + i + 16), Lanes(b + i + 16), second)
        third = multiplyAdd(Lanes(a + i + 32), Lanes(b + i + 32), third)
        fourth = multiplyAdd(Lanes(a + i + 48), Lanes(b + i + 48), fourth)
        i &+= 64
    }
    while i &+ 16 <= count {
        first = multiplyAdd(Lanes(a + i), Lanes(b + i), first)
        i &+= 16
    }
    let rest = count &- i
    if rest > 0 { second = multiplyAdd(Lanes(a + i, first: rest), Lanes(b + i, first: rest), second) }
    return ((first + second) + (third + fourth)).total
}
