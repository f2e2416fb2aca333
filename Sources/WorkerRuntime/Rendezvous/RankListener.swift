import ControlProtocol
import FlyingSocks
import Foundation

/// Another rank of a world without a launcher, as rank 0 or a rank sees it.
struct RankPeer: Sendable {
    let rank: Int
    /// Where it runs, for people.
    let place: String
    let link: RankLink
}

/// What keeps a world from coming about at this attempt. Another may do.
struct WorldNotFormed: Error, CustomStringConvertible {
    let description: String
}

/// Where rank 0 waits for the other ranks of a world that is complete.
struct RankListener {
    private let socket: Socket
    let port: UInt16
    private let limits: Limits

    /// - Parameter host: an address of this machine; port 0 of it is listened on.
    init(host: String, limits: Limits) async throws {
        let addresses = try await SocketAddresses.resolve(Endpoint(host: host, port: 0))
        guard let address = addresses.first else { throw WorldNotFormed(description: "\(host) has no address") }
        self.limits = limits
        let listening = try ListeningSocket.open(address, limits: limits)
        (socket, port) = (listening.socket, listening.endpoint.port)
    }

    /// Unless `gather` is called.
    func close() { try? socket.close() }

    private enum Event: Sendable {
        case accepted(AsyncSocket)
        /// Nil: it was none of the world's ranks.
        case greeted(RankPeer?)
    }

    private struct TimeIsOver: Error {}

    /// Waits for all ranks of `world` but this one, and closes the listening socket.
    /// - Throws: `WorldNotFormed` with those that have not come in time.
    func gather(world: String, worldSize: Int, keys: AcceptedKeys) async throws -> [RankPeer] {
        defer { try? socket.close() }
        return try await withThrowingTaskGroup(of: Event.self) { group in
            group.addTask { [limits] in
                try await Task.sleep(for: limits.worldAssemblyTime)
                throw TimeIsOver()
            }
            var peers: [Int: RankPeer] = [:]
            var failure: (any Error)?
            do {
                try await take(&peers, world, worldSize, keys, in: &group)
            } catch is TimeIsOver {
                let missing = RankList((1..<worldSize).filter { peers[$0] == nil })
                failure = WorldNotFormed(
                    description: "\(missing) did not connect to rank 0 within \(limits.worldAssemblyTime)")
            } catch {
                failure = error
            }
            group.cancelAll()
            while let late = await group.nextResult() {
                switch late {
                case .success(.accepted(let client)): try? client.close()
                case .success(.greeted(let peer)): peer?.link.close()
                case .failure: break
                }
            }
            guard let failure else { return peers.values.sorted { $0.rank < $1.rank } }
            for peer in peers.values { peer.link.close() }
            throw failure
        }
    }

    private func take(
        _ peers: inout [Int: RankPeer], _ world: String, _ worldSize: Int, _ keys: AcceptedKeys,
        in group: inout ThrowingTaskGroup<Event, any Error>
    ) async throws {
        let server = try AsyncSocket(socket: socket, pool: SocketReadiness.shared)
        group.addTask { .accepted(try await server.accept()) }
        var greeting = 0
        while peers.count < worldSize - 1, let event = try await group.next() {
            switch event {
            case .accepted(let client):
                group.addTask { .accepted(try await server.accept()) }
                guard greeting < worldSize + limits.strangersAtRankZero else {
                    try? client.close()
                    continue
                }
                greeting += 1
                group.addTask { .greeted(await greet(client, world, worldSize, keys)) }
            case .greeted(let peer):
                greeting -= 1
                guard let peer else { continue }
                if peers[peer.rank] == nil { peers[peer.rank] = peer } else { peer.link.close() }
            }
        }
    }

    private func greet(
        _ client: AsyncSocket, _ world: String, _ worldSize: Int, _ keys: AcceptedKeys
    ) async -> RankPeer? {
        do {
            try? client.socket.setValue(true, for: BoolSocketOption(level: Int32(IPPROTO_TCP), name: TCP_NODELAY))
            let link = RankLink(try await SecureStream.accept(client, keys: keys).stream, limits: limits)
            guard case .hello(world, let rank, let host, let processID) = try await link.receive(),
                (1..<worldSize).contains(rank)
            else { throw WorldNotFormed(description: "it is none of the ranks") }
            let place = "process \(processID) on \(host.fitting(bytes: limits.hostNameBytes))"
            return RankPeer(rank: rank, place: place, link: link)
        } catch {
            try? client.close()
            return nil
        }
    }
}

/// Ranks in words: "ranks 1, 2 and 5".
struct RankList: CustomStringConvertible {
    let description: String

    /// - Parameter others: how many there are besides `ranks`.
    init(_ ranks: [Int], others: Int = 0) {
        guard ranks.count + others > 1, let last = ranks.last else {
            description = ranks.first.map { "rank \($0)" } ?? "no rank"
            return
        }
        let names = ranks.map(String.init)
        description =
            others > 0
            ? "ranks \(names.joined(separator: ", ")) and \(others) more"
            : "ranks \(names.dropLast().joined(separator: ", ")) and \(last)"
    }
}
