/// How `load-balanced` may lay out a layer: so many of the hottest experts spread over ranks, the others in whole replicas,
/// so many beyond one of each at most.
struct LayerShape: Hashable, Sendable {
    var sharded: Int
    var spares: Int
}

/// What the shapes of a layer came to when they were tried, relative to the least that was possible: what they are expected
/// to come to again, as long as loads are much the same. Without that every look would repeat all searches.
struct ShapeExperience: Hashable, Sendable {
    /// Loads that it was made at.
    private var loads = [Double]()
    private var looks = 0
    private var ratios = [LayerShape: Double]()
    /// What plans made anew came to in each part of a layer, as `ReplicaPlanner.plan` has it.
    var anew = [Way: [Int: Double]]()

    /// One of the ways to divide experts and ranks into parts.
    struct Way: Hashable, Sendable {
        var shape: LayerShape
        var number: Int
    }

    /// Looks after which every shape is tried anew, and the change of loads, in total variation, that makes them so too.
    private static let mostLooks = 16
    private static let mostChange = 0.05

    /// A look at the layer under `loads`; where searches take no time, every look begins anew.
    mutating func begin(_ loads: [Double], isLarge: Bool) {
        looks += 1
        if isLarge, looks <= Self.mostLooks, Self.change(from: self.loads, to: loads) <= Self.mostChange { return }
        self = ShapeExperience()
        self.loads = loads
    }

    /// Total variation between shares, 0 … 1.
    private static func change(from old: [Double], to new: [Double]) -> Double {
        let (before, after) = (old.reduce(0, +), new.reduce(0, +))
        guard old.count == new.count, before > 0, after > 0 else { return 1 }
        return zip(old, new).reduce(0) { $0 + abs($1.0 / before - $1.1 / after) } / 2
    }

    /// A shape was tried: it takes so long, or would with its part of what getting there costs.
    mutating func add(_ shape: LayerShape, seconds: Double, bound: Double) {
        // Infinite when it cannot be.
        guard bound > 0 else { return }
        ratios[shape] = seconds / bound
    }

    /// Seconds to be expected of a shape of which `bound` is the least possible; nil: it has not been tried.
    func seconds(_ shape: LayerShape, bound: Double) -> Double? {
        ratios[shape].map { bound * max(1, $0) }
    }

    /// The shapes by what is expected of them, best first; as they are, before anything is known.
    func order(_ shapes: [LayerShape], bounds: [Double]) -> [Int] {
        if ratios.isEmpty { return Array(shapes.indices) }
        let expected = zip(shapes, bounds).map { seconds($0, bound: $1) ?? $1 }
        return shapes.indices.sorted { (expected[$0], $0) < (expected[$1], $1) }
    }
}
