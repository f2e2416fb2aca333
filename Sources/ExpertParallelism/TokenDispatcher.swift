import ExpertPlacement
import Layers
import Randomness

/// A token's way to an expert: what a choice of replica may depend on.
public struct DispatchOrigin: Sendable {
    /// The rank that the tokens are on.
    public let rank: Int
    public let step: Int
    public let layer: Int
    /// Index in the global batch of the rank's first token.
    public let firstToken: Int

    public init(rank: Int, step: Int, layer: Int, firstToken: Int) {
        self.rank = rank
        self.step = step
        self.layer = layer
        self.firstToken = firstToken
    }
}

/// Picks the replica that computes each (token, expert) pair. After veScale's `TokenDispatcher` (volcengine/veScale
/// pull request 59).
///
/// Where a replica's choice is random, it depends on the seed, the step, the layer, the token's index in the global
/// batch and the expert, never on the world size.
public protocol TokenDispatcher: Sendable {
    /// Takes a sample into account.
    mutating func collectPerformance(_ sample: PerformanceSample, rank: Int)

    /// The replica of `placement` that computes `expert` for the token with the index `token` in the global batch.
    func chooseReplica(token: Int, expert: Int, placement: ExpertPlacement, origin: DispatchOrigin) -> Int

    /// The replica of each routing row, N entries.
    mutating func assignTask(_ routing: Routing, placement: LayerPlacement, origin: DispatchOrigin) -> [Int]
}

extension TokenDispatcher {
    public func collectPerformance(_ sample: PerformanceSample, rank: Int) {}

    /// Asks `chooseReplica` for each row whose expert has several replicas.
    public func assignTask(_ routing: Routing, placement: LayerPlacement, origin: DispatchOrigin) -> [Int] {
        (0..<routing.count).map { row in
            let expert = Int(routing.experts[row])
            let placement = placement.experts[expert]
            guard placement.mesh.dataParallel > 1 else { return 0 }
            return chooseReplica(
                token: origin.firstToken + Int(routing.tokens[row]), expert: expert,
                placement: placement, origin: origin)
        }
    }
}

/// Picks replicas at random, each with the probability that the plan gives it. The default, as veScale's.
public struct RandomDispatcher: TokenDispatcher {
    public let seed: UInt64

    public init(seed: UInt64) {
        self.seed = seed
    }

    public func chooseReplica(token: Int, expert: Int, placement: ExpertPlacement, origin: DispatchOrigin) -> Int {
        let generator = CounterBasedGenerator(
            seed: seed, purpose: "dispatch", keys: [origin.step, origin.layer])
        var remaining = generator.uniform(at: UInt64(truncatingIfNeeded: token) << 20 | UInt64(expert))
        for replica in 0..<placement.mesh.dataParallel - 1 {
            remaining -= placement.fraction(ofReplica: replica)
            if remaining < 0 { return replica }
        }
        return placement.mesh.dataParallel - 1
    }
}

/// Keeps a token on its own rank where that rank holds a replica (or a shard of one), and picks at random elsewhere.
/// Saves traffic; does not obey the plan's fractions on ranks that hold a replica.
public struct LocalFirstDispatcher: TokenDispatcher {
    private let elsewhere: RandomDispatcher

    public init(seed: UInt64) {
        elsewhere = RandomDispatcher(seed: seed)
    }

    public func chooseReplica(token: Int, expert: Int, placement: ExpertPlacement, origin: DispatchOrigin) -> Int {
        placement.mesh.position(of: origin.rank)?.replica
            ?? elsewhere.chooseReplica(token: token, expert: expert, placement: placement, origin: origin)
    }
}
