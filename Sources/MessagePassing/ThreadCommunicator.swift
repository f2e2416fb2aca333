import Synchronization

/// Ranks that are threads of one process, for tests and for runs that need no MPI.
///
/// Sums are formed in rank order, so results depend on nothing but the values. Arguments that do not fit together are found
/// and thrown on every rank. When a rank throws, or ends early, the others throw instead of waiting for it.
public final class ThreadCommunicator: Communicator {
    public let rank: Int
    public var size: Int { group.members.count }
    private let group: ThreadGroup

    private init(rank: Int, group: ThreadGroup) {
        self.rank = rank
        self.group = group
    }

    /// A group of one rank, on the caller's thread.
    public convenience init() {
        self.init(rank: 0, group: ThreadGroup(world: ThreadWorld(size: 1), members: [0]))
    }

    /// Runs `body` on each of `worldSize` ranks, and returns when all have ended.
    /// - Parameter stackSizeBytes: of each rank's thread.
    /// - Returns: the ranks' results in rank order.
    /// - Throws: the first error of a rank.
    public static func run<Result: Sendable>(
        worldSize: Int, stackSizeBytes: Int = 16 << 20,
        _ body: @escaping @Sendable (ThreadCommunicator) throws -> Result
    ) throws -> [Result] {
        precondition(worldSize > 0, "a world has at least one rank")
        let world = ThreadWorld(size: worldSize)
        let group = ThreadGroup(world: world, members: Array(0..<worldSize))
        let results = Mutex([Result?](repeating: nil, count: worldSize))
        runThreads(
            count: worldSize, stackSizeBytes: stackSizeBytes,
            notStarted: { rank, error in world.leave(rank: rank, error: error) },
            { rank in
                do {
                    let result = try body(ThreadCommunicator(rank: rank, group: group))
                    results.withLock { $0[rank] = result }
                    world.leave(rank: rank, error: nil)
                } catch {
                    world.leave(rank: rank, error: error)
                }
            })
        if let failure = world.failure { throw failure }
        return results.withLock { $0.compactMap { $0 } }
    }

    /// The node of each rank: one node for all.
    public func nodes() -> [Int] { [Int](repeating: 0, count: size) }

    public func barrier() throws {
        try collective(Contribution(call: .barrier)) { _ in }
    }

    public func split(color: Int, key: Int) throws -> any Communicator {
        try checkSplit(color: color, key: key)
        var contribution = Contribution(call: .split)
        contribution.color = color
        contribution.key = key
        let own = rank
        let communicator = try collective(contribution) { all in
            let positions = all.indices.filter { all[$0].color == color }
                .sorted { (all[$0].key, $0) < (all[$1].key, $1) }
            let subgroup = group.subgroup(color: color, positions: positions)
            return ThreadCommunicator(rank: positions.firstIndex(of: own) ?? 0, group: subgroup)
        }
        group.forgetSubgroup(color: color)
        return communicator
    }

    /// Brings a contribution, and runs `body` on those of all ranks while their memory is valid.
    /// - Throws: `CommunicatorError.mismatch`, on all ranks, when the contributions do not fit together.
    func collective<Result>(_ contribution: Contribution, _ body: ([Contribution]) throws -> Result) throws -> Result {
        let all = try group.meet(contribution, rank: rank)
        let mismatch = Contribution.mismatch(in: all)
        if let mismatch {
            try group.part(contribution)
            throw mismatch
        }
        let result = try body(all)
        try group.part(contribution)
        return result
    }

    /// Waits once more in the middle of a call.
    func wait(in contribution: Contribution) throws { try group.part(contribution) }
}
