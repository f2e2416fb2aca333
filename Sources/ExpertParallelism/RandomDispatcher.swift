import ExpertPlacement
import Layers
import Randomness

/// Picks replicas at random, each with the probability that the plan gives it. The default, as veScale's.
public struct RandomDispatcher: TokenDispatcher {
    public let seed: UInt64
    private var fractions = PlacementCache<ReplicaFractions>()

    public init(seed: UInt64) {
        self.seed = seed
    }

    public func chooseReplica(token: Int, expert: Int, placement: ExpertPlacement, origin: DispatchOrigin) -> Int {
        ReplicaFractions([placement])
            .replica(expert: 0, uniform: generator(origin).uniform(at: Self.index(token: token, expert: expert)))
    }

    public mutating func assignTask(_ routing: Routing, placement: LayerPlacement, origin: DispatchOrigin) -> [Int] {
        assignTask(routing, placement: placement, origin: origin, known: { _ in nil })
    }

    /// - Parameter known: the replica of an expert, where there is no choice.
    mutating func assignTask(
        _ routing: Routing, placement: LayerPlacement, origin: DispatchOrigin, known: (Int) -> Int?
    ) -> [Int] {
        let fractions = fractions.value(for: placement, ReplicaFractions.init)
        let fixed = placement.experts.indices.map { fractions.isReplicated($0) ? known($0) ?? -1 : 0 }
        let generator = generator(origin)
        let (tokens, experts) = (routing.tokens.span, routing.experts.span)
        var replicas = [Int](repeating: 0, count: routing.count)
        var span = replicas.mutableSpan
        for row in experts.indices {
            let expert = Int(experts[row])
            if fixed[expert] >= 0 {
                span[row] = fixed[expert]
            } else {
                let index = Self.index(token: origin.firstToken + Int(tokens[row]), expert: expert)
                span[row] = fractions.replica(expert: expert, uniform: generator.uniform(at: index))
            }
        }
        return replicas
    }

    private func generator(_ origin: DispatchOrigin) -> CounterBasedGenerator {
        CounterBasedGenerator(seed: seed, purpose: "dispatch", keys: [origin.step, origin.layer])
    }

    /// Different for all pairs below a million experts and 2^44 tokens.
    private static func index(token: Int, expert: Int) -> UInt64 {
        UInt64(truncatingIfNeeded: token) << 20 | UInt64(truncatingIfNeeded: expert)
    }
}
