import ControlProtocol

/// The ranks that wait for the others of their world, by run. A rank is there as long as its connection, so nothing of this is
/// durable.
///
/// A world is complete when all its ranks wait at once. It is open when rank 0 has then said where it listens, and forgotten when
/// everybody knows. A rank that goes in between sends the others back to waiting.
package struct WaitingRooms {
    /// What comes of a `join_world` that waits.
    package struct Resolution: Hashable, Sendable {
        package let ticket: Int
        package let outcome: Result<WorldJoined, ControlError>
    }

    fileprivate struct Member {
        let connection: Int
        let host: String
        let processID: Int
        /// Of the request that waits.
        var ticket: Int?
        /// When the last one was answered.
        var answered = Duration.zero
    }

    private struct Room {
        let worldSize: Int
        var members: [Int: Member] = [:]
        /// Once it is complete.
        var world: String?
    }

    private struct Seat: Hashable {
        let run: String?
        let rank: Int
    }

    private let limits: Limits
    private var rooms: [String?: Room] = [:]
    private var seats: [Int: Seat] = [:]
    /// For connections that did not wait when their world was opened, or got a seat of theirs taken.
    private var parting: [Int: Result<WorldJoined, ControlError>] = [:]

    package init(limits: Limits = .standard) {
        self.limits = limits
    }

    /// Nobody waits.
    package var isEmpty: Bool { rooms.isEmpty && seats.isEmpty && parting.isEmpty }

    /// - Parameters:
    ///   - connection: numbered in the order in which they came.
    ///   - ticket: never used before.
    ///   - world: the name of the world, should it be complete now; never used before.
    ///   - now: on a clock that only moves forward.
    package mutating func join(
        _ request: JoinWorld, from connection: Int, ticket: Int, world: String, at now: Duration
    ) -> [Resolution] {
        if let outcome = parting.removeValue(forKey: connection) {
            return [Resolution(ticket: ticket, outcome: outcome)]
        }
        let seat = Seat(run: request.run, rank: request.rank)
        var resolutions = [Resolution]()
        if let earlier = seats[connection], earlier != seat { resolutions += leave(connection) }
        removeSilent(from: request.run, at: now)
        var room = rooms[request.run] ?? Room(worldSize: request.worldSize)
        guard room.worldSize == request.worldSize else {
            return resolutions + [
                Resolution(ticket: ticket, outcome: .failure(.otherWorldSize(request, room.worldSize)))
            ]
        }
        if let earlier = room.members[request.rank], earlier.connection != connection {
            // Over a connection that a process gave up its request may come after that over the next one.
            if earlier.host == request.host, earlier.processID == request.processID, earlier.connection > connection {
                return resolutions + [
                    Resolution(ticket: ticket, outcome: .failure(.anotherProcess(request, after: earlier)))
                ]
            }
            resolutions += replace(earlier, by: request)
            room.world = nil
        }
        seats[connection] = seat
        room.members[request.rank] = Member(
            connection: connection, host: request.host, processID: request.processID, ticket: ticket)
        if room.world == nil, room.members.count == room.worldSize { room.world = world }
        if let world = room.world, let ticket = room.members[0]?.ticket {
            room.members[0]?.ticket = nil
            room.members[0]?.answered = now
            resolutions.append(Resolution(ticket: ticket, outcome: .success(WorldJoined(world: world))))
        }
        rooms[request.run] = room
        return resolutions
    }

    /// - Throws: `conflict` when the world is not complete any more.
    package mutating func open(_ request: OpenWorld, from connection: Int) throws(ControlError) -> [Resolution] {
        guard let seat = seats[connection], seat.rank == 0, let room = rooms[seat.run], room.world == request.world
        else {
            throw ControlError(.conflict, "a rank of the world has gone; wait for it again")
        }
        rooms[seat.run] = nil
        let outcome = Result<WorldJoined, ControlError>.success(
            WorldJoined(world: request.world, address: request.address))
        var resolutions = [Resolution]()
        for (rank, member) in room.members.sorted(by: { $0.key < $1.key }) {
            seats[member.connection] = nil
            if rank == 0 { continue }
            if let ticket = member.ticket {
                resolutions.append(Resolution(ticket: ticket, outcome: outcome))
            } else {
                parting[member.connection] = outcome
            }
        }
        return resolutions
    }

    /// The time of the request with `ticket`, which came over `connection`, is over.
    package mutating func expire(_ ticket: Int, of connection: Int, at now: Duration) -> [Resolution] {
        guard let seat = seats[connection] else { return [] }
        removeSilent(from: seat.run, at: now)
        guard var room = rooms[seat.run], room.members[seat.rank]?.ticket == ticket else { return [] }
        room.members[seat.rank]?.ticket = nil
        room.members[seat.rank]?.answered = now
        rooms[seat.run] = room
        let missing = (0..<room.worldSize).lazy.filter { room.members[$0] == nil }.prefix(limits.listedMissingRanks)
        let answer = WorldJoined(missing: Array(missing), missingCount: room.worldSize - room.members.count)
        return [Resolution(ticket: ticket, outcome: .success(answer))]
    }

    /// `connection` is over.
    package mutating func leave(_ connection: Int) -> [Resolution] {
        parting[connection] = nil
        guard let seat = seats.removeValue(forKey: connection), var room = rooms[seat.run] else { return [] }
        let member = room.members.removeValue(forKey: seat.rank)
        room.world = nil
        rooms[seat.run] = room.members.isEmpty ? nil : room
        guard let ticket = member?.ticket else { return [] }
        return [Resolution(ticket: ticket, outcome: .failure(ControlError(.connectionClosed, "the client has gone")))]
    }

    /// A machine that vanished does not end its connections.
    private mutating func removeSilent(from run: String?, at now: Duration) {
        for member in rooms[run]?.members.values.map(\.self) ?? []
        where member.ticket == nil && now - member.answered > limits.worldWaitTime {
            _ = leave(member.connection)
        }
    }

    /// The process that comes last has the rank: the one before may be on a machine that vanished.
    private mutating func replace(_ member: Member, by request: JoinWorld) -> [Resolution] {
        seats[member.connection] = nil
        let outcome = Result<WorldJoined, ControlError>.failure(.anotherProcess(request, after: member))
        guard let ticket = member.ticket else {
            parting[member.connection] = outcome
            return []
        }
        return [Resolution(ticket: ticket, outcome: outcome)]
    }
}

extension ControlError {
    fileprivate static func anotherProcess(_ request: JoinWorld, after member: WaitingRooms.Member) -> ControlError {
        let run = request.run.map { " of run \($0)" } ?? ""
        return ControlError(
            .conflict,
            "another process has come as rank \(request.rank)\(run): process \(request.processID) on \(request.host), "
                + "after process \(member.processID) on \(member.host); start each rank once")
    }

    fileprivate static func otherWorldSize(_ request: JoinWorld, _ worldSize: Int) -> ControlError {
        let run = request.run.map { " of run \($0)" } ?? ""
        return ControlError(
            .conflict,
            "rank \(request.rank)\(run) was started with --world-size \(request.worldSize), but the ranks that wait with "
                + "\(worldSize); give all ranks the same")
    }
}
