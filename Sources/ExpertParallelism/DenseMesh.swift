import ExpertPlacement

/// The DP × TP grid of ranks for what all tokens go through. A row is a tensor-parallel group, of neighbours: it has a block of the
/// batch's sequences, whose tokens are spread over its ranks, and computes their attention together, some heads each, and their dense
/// networks and shared experts, some neurons each.
///
/// It has nothing to do with the meshes of experts, which are cut and placed as a plan says.
public struct DenseMesh: Hashable, Sendable {
    /// Groups.
    public let dataParallel: Int
    /// Ranks of a group.
    public let tensorParallel: Int

    public init(dataParallel: Int, tensorParallel: Int = 1) {
        precondition(dataParallel > 0 && tensorParallel > 0, "an empty mesh")
        self.dataParallel = dataParallel
        self.tensorParallel = tensorParallel
    }

    public var worldSize: Int { dataParallel * tensorParallel }

    /// The group of a rank.
    public func group(of rank: Int) -> Int { rank / tensorParallel }
    /// A rank's place in its group.
    public func place(of rank: Int) -> Int { rank % tensorParallel }

    /// Which of its group's `count` tokens a rank has. Ranks differ by one at most.
    public func tokens(of rank: Int, count: Int) -> Range<Int> {
        evenPart(place(of: rank), of: tensorParallel, in: 0..<count)
    }
}
