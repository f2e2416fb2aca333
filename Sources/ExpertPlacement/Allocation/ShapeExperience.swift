/// How `load-balanced` may lay out a layer: so many of the hottest experts spread over ranks, the others in whole replicas,
/// so many beyond one of each at most.
struct LayerShape: Hashable, Sendable {
    var sharded: Int
    var spares: Int
}

/// What the shapes of a layer came to when they were tried, relative to the least that was possible: what they are expected
/// to come to again, as long as loads are much the same. Without that every look would repeat all searches.
struct ShapeExperience: Sendable {
    /// Loads that it was made at.
    private var loads = [Double]()
    private var looks = 0
    /// What was tried at these loads came to, or what was better than that.
    private var ratios = [LayerShape: Double]()
    /// What shapes themselves came to, at these loads and at earlier ones that were as uneven.
    private var own = [LayerShape: Double]()
    /// How often shapes were looked at anew since experience began.
    private var renewals = 0
    /// What the last search brought; nil: there was none at these loads.
    private var outcome: (saved: Double, excess: Double)?
    /// What plans made anew came to in each part of a layer, as `ReplicaPlanner.plan` has it.
    var anew = [Way: [Int: Double]]()

    /// One of the ways to divide experts and ranks into parts.
    struct Way: Hashable, Sendable {
        var shape: LayerShape
        var number: Int
    }

    /// Looks after which shapes are looked at anew, and the change of loads, in total variation, that makes them so too.
    private static let mostLooks = 16
    private static let mostChange = 0.05
    /// How much better than before a shape may do when it is looked at anew.
    private static let doubt = 0.05
    /// Part of what a placement becomes worse by that a search wins back: about what it did in simulations of 1,024 ranks.
    private static let recoverable = 0.5
    /// After so many times of that every shape is tried.
    private static let mostRenewals = 4

    /// A look at the layer under `loads`; where searches take no time, every look begins anew. As long as loads are as many and as
    /// uneven, whichever experts have them, shapes are expected to do much the same.
    mutating func begin(_ loads: [Double], isLarge: Bool) {
        look()
        if isLarge, looks <= Self.mostLooks, Self.change(from: self.loads, to: loads) <= Self.mostChange { return }
        var new = ShapeExperience()
        if isLarge, renewals < Self.mostRenewals,
            Self.change(from: self.loads.sorted(), to: loads.sorted()) <= Self.mostChange
        {
            new.own = own
            new.renewals = renewals + 1
        }
        self = new
        self.loads = loads
    }

    /// How many more or fewer rows are as good as other loads, relative.
    private static let mostGrowth = 0.1

    /// Total variation between shares, 0 … 1; 1 where there are many more rows, or many fewer.
    private static func change(from old: [Double], to new: [Double]) -> Double {
        let (before, after) = (old.reduce(0, +), new.reduce(0, +))
        guard old.count == new.count, before > 0, abs(after / before - 1) <= Self.mostGrowth else { return 1 }
        return zip(old, new).reduce(0) { $0 + abs($1.0 / before - $1.1 / after) } / 2
    }

    /// The shapes were searched.
    /// - Parameters:
    ///   - choice: what came of it; of a placement that had to go nothing is to be learned.
    ///   - bound: seconds that no placement of whole experts can beat.
    mutating func end(_ choice: LayerPlanner.Choice, bound: Double) {
        let (before, after) = (choice.before, choice.after)
        outcome =
            bound > 0 && !choice.isForced
            ? (before.seconds - after.seconds, before.certainSeconds / bound) : nil
    }

    /// A look at the layer, which may be all that there is.
    mutating func look() { looks += 1 }

    /// Seconds that a search may save: what the last one did, and what the placement in force has become worse by since; nil: not
    /// known at these loads.
    func savings(_ loads: [Double], before: LayerPrediction, bound: Double) -> Double? {
        guard let outcome, looks < Self.mostLooks, Self.change(from: self.loads, to: loads) <= Self.mostChange else {
            return nil
        }
        return outcome.saved + Self.recoverable * max(0, before.certainSeconds - outcome.excess * bound)
    }

    /// A shape was tried.
    /// - Parameters:
    ///   - seconds: that it takes, or would with its part of what getting there costs; infinite when it cannot be.
    ///   - best: of the placement found so far. A shape that did not do, whatever the reason, is not tried again before that has
    ///     become worse.
    mutating func add(_ shape: LayerShape, seconds: Double, best: Double, bound: Double) {
        guard bound > 0 else { return }
        ratios[shape] = max(seconds, best) / bound
        own[shape] = seconds.isFinite ? seconds / bound : nil
    }

    /// Seconds to be expected of a shape of which `bound` is the least possible; nil: it has not been tried.
    func seconds(_ shape: LayerShape, bound: Double) -> Double? {
        (ratios[shape] ?? own[shape].map { $0 * (1 - Self.doubt) }).map { bound * max(1, $0) }
    }

    /// The shapes by what is expected of them, best first; as they are, before anything is known.
    func order(_ shapes: [LayerShape], bounds: [Double]) -> [Int] {
        if ratios.isEmpty, own.isEmpty { return Array(shapes.indices) }
        let expected = zip(shapes, bounds).map { $1 * max(1, own[$0] ?? 1) }
        return shapes.indices.sorted { (expected[$0], $0) < (expected[$1], $1) }
    }
}
