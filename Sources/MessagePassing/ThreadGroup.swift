/// The ranks of one `ThreadCommunicator`: what they bring to the call that is under way.
final class ThreadGroup: @unchecked Sendable {  // Everything that changes does so under the world's lock.
    let world: ThreadWorld
    /// Ranks in the world of this group's ranks.
    let members: [Int]
    private var contributions: [Contribution?]
    private var arrived = 0
    /// Counts the meetings that are over.
    private var meetings = 0
    private var subgroups = [Int: ThreadGroup]()

    init(world: ThreadWorld, members: [Int]) {
        self.world = world
        self.members = members
        contributions = [Contribution?](repeating: nil, count: members.count)
    }

    /// Waits until all ranks have come, each with its contribution.
    /// - Returns: all contributions in rank order. Their memory is valid until this rank calls `part`.
    func meet(_ contribution: Contribution, rank: Int) throws -> [Contribution] {
        try world.locked {
            try world.checkUsable()
            contributions[rank] = contribution
            try arrive(contribution.name, isRead: false)
            return contributions.compactMap { $0 }
        }
    }

    /// Waits until all ranks have done with the contributions.
    func part(_ contribution: Contribution) throws {
        try world.locked { try arrive(contribution.name, isRead: true) }
    }

    private func arrive(_ call: String, isRead: Bool) throws {
        let meeting = meetings
        arrived += 1
        if arrived == members.count {
            arrived = 0
            meetings += 1
            world.wakeAll()
        } else {
            try world.wait(for: members, isRead: isRead, call: call) { meetings != meeting }
        }
    }

    /// The group of the members at `positions`, the same object for all that ask between two meetings.
    func subgroup(color: Int, positions: [Int]) -> ThreadGroup {
        world.locked {
            if let group = subgroups[color] { return group }
            let group = ThreadGroup(world: world, members: positions.map { members[$0] })
            subgroups[color] = group
            return group
        }
    }

    /// Forgets the subgroups that its ranks hold by now.
    func forgetSubgroup(color: Int) {
        world.locked { subgroups[color] = nil }
    }
}
