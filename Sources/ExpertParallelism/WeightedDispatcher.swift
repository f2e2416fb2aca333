import ExpertPlacement
import Layers
import Randomness

/// Gives each replica its fraction of the rows, exact to less than one row on every rank: as replicas of unequal spare
/// capacity fill up evenly, without the scatter of random choices.
///
/// Systematic sampling: an expert's rows are counted off in their order against the running sum of the fractions, from a
/// random start below one row, so that over many steps and ranks no replica gains by rounding.
public struct WeightedDispatcher: TokenDispatcher {
    private let single: RandomDispatcher
    /// By expert: each replica's share, and their running sum.
    private var shares = PlacementCache<[Shares]>()

    public init(seed: UInt64) {
        single = RandomDispatcher(seed: seed)
    }

    /// For one pair alone there is nothing to count off: picks at random by the fractions.
    public func chooseReplica(token: Int, expert: Int, placement: ExpertPlacement, origin: DispatchOrigin) -> Int {
        single.chooseReplica(token: token, expert: expert, placement: placement, origin: origin)
    }

    public mutating func assignTask(_ routing: Routing, placement: LayerPlacement, origin: DispatchOrigin) -> [Int] {
        let generator = CounterBasedGenerator(
            seed: single.seed, purpose: "weighted dispatch", keys: [origin.step, origin.layer, origin.firstToken])
        let loads = routing.expertLoads
        // By expert: where each replica's rows end.
        let shares = shares.value(for: placement) { $0.map(Shares.init) }
        let ends = shares.enumerated().map { expert, shares in
            shares.ends(rows: loads[expert], start: generator.uniform(at: UInt64(expert)))
        }
        var next = [Int](repeating: 0, count: loads.count)
        var current = next
        return routing.experts.map { expert in
            let expert = Int(expert)
            let row = next[expert]
            next[expert] += 1
            // Rows are counted off, so the replica only grows.
            while row >= ends[expert][current[expert]] { current[expert] += 1 }
            return current[expert]
        }
    }
}

/// The shares of one expert's replicas.
private struct Shares {
    /// By replica; the sum is up to and with it.
    let fractions: [Double]
    let sums: [Double]
    /// The last replica that takes any rows takes what rounding leaves over.
    let last: Int

    init(_ placement: ExpertPlacement) {
        fractions = placement.replicaFractions
        last = fractions.lastIndex { $0 > 0 } ?? 0
        var sum = 0.0
        sums = fractions.map { fraction in
            sum += fraction
            return sum
        }
    }

    /// Where each replica's rows end. Row i falls to replica d when i + start is below the sum of the shares up to d, and
    /// not below that up to d − 1.
    func ends(rows: Int, start: Double) -> [Int] {
        var end = 0
        return fractions.indices.map { replica in
            if fractions[replica] == 0 { return end }
            let bound = Int((sums[replica] * Double(rows) - start).rounded(.up))
            end = replica < last ? min(rows, max(end, bound)) : rows
            return end
        }
    }
}
