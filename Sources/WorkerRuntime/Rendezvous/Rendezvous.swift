import ControlProtocol
import FlyingSocks
import Foundation
import Logging

/// Brings the ranks of a world together that no launcher started. They wait for each other at the coordinator; when all are there, it
/// tells them where rank 0 is, to which each then keeps a connection.
public struct Rendezvous: Sendable {
    private let options: RendezvousOptions
    private let access: CoordinatorAccess
    private let limits: Limits
    private let logger: Logger
    private let end: RankWatch.End
    /// Files that a rank has open for other things.
    private static let ownFiles = 32

    private init(
        _ options: RendezvousOptions, limits: Limits, logger: Logger, end: @escaping RankWatch.End
    ) throws(WorkerError) {
        self.options = options
        self.limits = limits
        self.logger = logger
        self.end = end
        access = try options.access()
    }

    /// Waits for all ranks, on a thread that is none of Swift's pool.
    /// - Parameter end: ends the process when a rank is lost later, with one line for people. Called once.
    /// - Throws: `WorkerError` `coordinatorUnreachable` when the time is over, with what was missing; `refused`.
    public static func meet(
        _ options: RendezvousOptions, limits: Limits = .standard, logger: Logger = Logger(label: "moe.worker"),
        end: @escaping RankWatch.End
    ) throws -> RankWatch {
        let rendezvous = try Rendezvous(options, limits: limits, logger: logger, end: end)
        try rendezvous.access.checkKey()
        if options.rank == 0 {
            let files = FileDescriptorLimit.raise()
            // MPI has one to each rank of another machine, too.
            let needed = 2 * options.worldSize + ownFiles
            guard files >= needed else {
                throw WorkerError.failed(
                    "rank 0 keeps two connections to each of \(options.worldSize) ranks, its own and MPI's, and needs \(needed) files, "
                        + "but may have only \(files) open; raise the hard limit (ulimit -Hn)")
            }
        }
        let lastFailure = LastFailure()
        let watch = try AsynchronousCall.run(within: .seconds(options.timeoutSeconds)) {
            try await rendezvous.attempts(noting: lastFailure)
        }
        if let watch { return watch }
        throw WorkerError(
            .coordinatorUnreachable,
            "there is no world of \(options.worldSize) ranks after \(options.timeoutSeconds) s (--rendezvous-timeout): "
                + (lastFailure.message ?? "the coordinator at \(rendezvous.access.address) did not answer"))
    }

    private func attempts(noting lastFailure: LastFailure) async throws -> RankWatch {
        let backOff = BackOff(first: .milliseconds(50), longest: .seconds(1))
        var failures = 0
        var earlier: String?
        while true {
            do {
                return try await attempt(noting: lastFailure, after: earlier)
            } catch let error as ControlError where !error.isTransient && error.code != .cancelled {
                throw WorkerError(.refused, "the coordinator at \(access.address): \(error.message)")
            } catch {
                if Task.isCancelled { throw error }
                lastFailure.message = "\(error)"
                earlier = "\(error)"
                failures += 1
                if failures == 1 { logger.warning("the world does not come about yet: \(error)") }
            }
            try await Task.sleep(for: backOff.pause(afterFailures: failures))
        }
    }

    /// - Parameter earlier: why the attempt before failed.
    private func attempt(noting lastFailure: LastFailure, after earlier: String?) async throws -> RankWatch {
        let client = try await access.connect()
        defer { client.close() }
        let request = JoinWorld(
            run: options.run, worldSize: options.worldSize, rank: options.rank, host: CoordinatorChannel.host,
            processID: CoordinatorChannel.processID)
        var isTold = false
        while true {
            let answer = try await client.send(request, timeout: limits.worldWaitTime * 4)
            if let world = answer.world {
                if options.rank == 0 { return try await open(world, client) }
                if let address = answer.address { return try await enter(world, at: Endpoint(address)) }
            }
            let named = answer.missing.prefix(limits.listedMissingRanks)
            let missing = RankList(Array(named), others: max(0, answer.missingCount &- named.count))
            lastFailure.message =
                "\(missing) did not come; start each rank once, with --world-size \(options.worldSize) and "
                + (options.run.map { "--run \($0)" } ?? "without --run")
                + (earlier.map { " (before that: \($0))" } ?? "")
            if !isTold { logger.notice("rank \(options.rank) of \(options.worldSize) waits for \(missing)") }
            isTold = true
        }
    }

    /// As rank 0.
    private func open(_ world: String, _ client: ControlClient) async throws -> RankWatch {
        let route = try await Route.toward(client.endpoint)
        let hasKey = options.keyFile != nil
        let listener = try await RankListener(host: hasKey ? route.anyAddress : route.loopbackAddress, limits: limits)
        // As with a coordinator: without a key only this machine may come.
        let host = hasKey ? (route.isLoopback ? CoordinatorChannel.host : route.localAddress) : route.loopbackAddress
        let address = Endpoint(host: options.host ?? host, port: listener.port)
        do throws(ControlError) {
            _ = try await client.send(OpenWorld(world: world, address: "\(address)"))
        } catch {
            listener.close()
            // All wait again.
            throw error.code == .conflict ? WorldNotFormed(description: error.message) : error
        }
        let peers: [RankPeer]
        do {
            peers = try await listener.gather(world: world, worldSize: options.worldSize, keys: access.acceptedKeys())
        } catch let error as WorldNotFormed {
            throw WorldNotFormed(description: "\(error) at \(address); can they reach it (--rank-host)?")
        }
        for peer in peers { try? await peer.link.send(.begin(silenceSeconds: options.silenceSeconds)) }
        return watch(peers, silence: .seconds(options.silenceSeconds))
    }

    /// As another rank.
    private func enter(_ world: String, at address: Endpoint) async throws -> RankWatch {
        let link: RankLink
        do throws(ControlError) {
            link = RankLink(
                try await SocketConnector.connect(
                    to: address, key: access.key(), timeout: limits.worldAssemblyTime / 2),
                limits: limits)
        } catch {
            let reason =
                error.isAboutKey
                ? "has another key (--key-file)" : "does not answer; can this rank reach it (--rank-host)?"
            throw WorldNotFormed(description: "rank 0 at \(address) \(reason)")
        }
        do {
            try await link.send(
                .hello(
                    world: world, rank: options.rank, host: CoordinatorChannel.host,
                    processID: CoordinatorChannel.processID))
            guard case .begin(let silence)? = try await first(of: link), (0.1...86_400).contains(silence) else {
                throw WorldNotFormed(description: "other ranks did not find rank 0 at \(address)")
            }
            return watch([RankPeer(rank: 0, place: "at \(address)", link: link)], silence: .seconds(silence))
        } catch {
            link.close()
            throw error is WorldNotFormed
                ? error : WorldNotFormed(description: "rank 0 at \(address) has gone before the world was there")
        }
    }

    /// The first message; nil when none comes in the time that rank 0 gives the ranks, and a little more.
    private func first(of link: RankLink) async throws -> RankMessage? {
        try await withThrowingTaskGroup(of: RankMessage?.self) { group in
            group.addTask { try await link.receive() }
            group.addTask { [limits] in
                try await Task.sleep(for: limits.worldAssemblyTime * 1.5)
                return nil
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
    }

    private func watch(_ peers: [RankPeer], silence: Duration) -> RankWatch {
        RankWatch(
            rank: options.rank, worldSize: options.worldSize, peers: peers, silence: silence, limits: limits, end: end)
    }
}
