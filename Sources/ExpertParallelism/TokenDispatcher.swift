import ExpertPlacement
import Layers

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
/// Random choices depend on the seed, the step and the layer, and on the token's index in the global batch and the expert
/// where rows are independent of one another. A dispatcher that counts rows counts those of one rank.
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
