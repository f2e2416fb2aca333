/// A thing by its number, and what it weighs: the heavier comes first, of equals the one with the lower number.
struct Heaviest<Weight: Comparable>: Comparable {
    var weight: Weight
    let index: Int

    static func < (a: Heaviest, b: Heaviest) -> Bool {
        a.weight == b.weight ? a.index < b.index : a.weight > b.weight
    }
}

/// The same, the lighter first.
struct Lightest<Weight: Comparable>: Comparable {
    var weight: Weight
    let index: Int

    static func < (a: Lightest, b: Lightest) -> Bool {
        a.weight == b.weight ? a.index < b.index : a.weight < b.weight
    }
}
