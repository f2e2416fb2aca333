import ControlProtocol
import CoordinatorCore
import FlyingSocks
import Foundation
import Logging
import Synchronization

/// Brings ranks together that no launcher started: each waits here for the others, and learns where rank 0 is.
final class Rendezvous: Sendable {
    private struct State {
        var rooms: WaitingRooms
        var lastTicket = 0
        /// Connections that were told what is missing, or soon are.
        var told = Set<Int>()
        var waiting: [Int: CheckedContinuation<Result<WorldJoined, ControlError>, Never>] = [:]
    }

    private let limits: Limits
    private let logger: Logger
    private let start = ContinuousClock.now
    private let state: Mutex<State>

    init(limits: Limits, logger: Logger) {
        self.limits = limits
        self.logger = logger
        state = Mutex(State(rooms: WaitingRooms(limits: limits)))
    }

    /// Waits for the world, for `Limits.worldWaitTime` at most and as long as the client is there.
    func join(_ request: JoinWorld, from client: Client) async throws -> WorldJoined {
        // The first answer comes early, so that people see soon who is missing.
        let (ticket, wait) = state.withLock { state in
            state.lastTicket += 1
            let isFirst = state.told.insert(client.id).inserted
            return (state.lastTicket, isFirst ? limits.worldWaitTime / 5 : limits.worldWaitTime)
        }
        let outcome = await withDiscardingTaskGroup { group in
            group.addTask { await self.expire(ticket, of: client.id, after: wait) }
            group.addTask { await self.leaveWhenGone(client) }
            defer { group.cancelAll() }
            return await withCheckedContinuation { continuation in
                resolve { state in
                    state.waiting[ticket] = continuation
                    return state.rooms.join(
                        request, from: client.id, ticket: ticket, world: UUID().uuidString.lowercased(),
                        at: .now - start)
                }
            }
        }
        return try outcome.get()
    }

    func open(_ request: OpenWorld, from client: Client) throws -> Acknowledged {
        try resolve { try $0.rooms.open(request, from: client.id) }
        logger.notice("ranks without a launcher have found each other", metadata: ["rank_0": "\(request.address)"])
        return Acknowledged()
    }

    /// The connection of that number is over.
    func leave(_ connection: Int) {
        resolve { state in
            state.told.remove(connection)
            return state.rooms.leave(connection)
        }
    }

    private func resolve(_ change: (inout State) throws -> [WaitingRooms.Resolution]) rethrows {
        let outcomes = try state.withLock { state in
            try change(&state).map { (state.waiting.removeValue(forKey: $0.ticket), $0.outcome) }
        }
        for (continuation, outcome) in outcomes { continuation?.resume(returning: outcome) }
    }

    private func expire(_ ticket: Int, of connection: Int, after wait: Duration) async {
        guard (try? await Task.sleep(for: wait)) != nil else { return }
        resolve { $0.rooms.expire(ticket, of: connection, at: .now - start) }
    }

    /// Nobody reads from a connection whose request waits, so somebody has to see when it ends.
    private func leaveWhenGone(_ client: Client) async {
        let socket = client.socket.socket
        guard (try? await SocketReadiness.shared.suspendSocket(socket, untilReadyFor: .read)) != nil else { return }
        var byte: UInt8 = 0
        // A client that has sent another request is there.
        if recv(socket.file.rawValue, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT)) <= 0 {
            leave(client.id)
        }
    }
}
