/// A set of Unicode scalars as regular expressions write it.
struct ScalarSet: Equatable {
    /// General categories, a bit each (`UnicodeCategories`).
    var categories: UInt32 = 0
    var ranges: [ClosedRange<UInt32>] = []
    var isNegated = false

    /// What `\s` stands for: Unicode's White_Space, which does not change any more.
    static let space = ScalarSet(ranges: [
        0x09...0x0D, 0x20...0x20, 0x85...0x85, 0xA0...0xA0, 0x1680...0x1680, 0x2000...0x200A, 0x2028...0x2029,
        0x202F...0x202F, 0x205F...0x205F, 0x3000...0x3000,
    ])

    func contains(_ value: UInt32, category: UInt8) -> Bool {
        (categories >> UInt32(category) & 1 != 0 || ranges.contains { $0.contains(value) }) != isNegated
    }

    /// The scalars that are not in it, without negation.
    var complement: ScalarSet {
        var gaps = [ClosedRange<UInt32>]()
        var next: UInt32 = 0
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if range.lowerBound > next { gaps.append(next...range.lowerBound - 1) }
            next = max(next, range.upperBound + 1)
        }
        if next <= 0x10FFFF { gaps.append(next...0x10FFFF) }
        precondition(categories == 0 && !isNegated, "categories have complements of their own")
        return ScalarSet(ranges: gaps)
    }
}
