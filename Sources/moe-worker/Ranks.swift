import Dispatch
import Foundation
import MPIMessagePassing
import MessagePassing
import WorkerRuntime

/// The ranks of this job, how they came together, and how they part.
struct Ranks {
    let communicator: MPICommunicator
    /// Watches over ranks that no launcher started.
    private let watch: RankWatch?

    /// What a launcher started, or this process alone.
    static func launched() throws -> Ranks {
        Ranks(communicator: try MPICommunicator.initialize(), watch: nil)
    }

    /// Finds the other ranks, which were started one by one.
    /// - Parameter end: ends this process, with a line for people.
    static func joined(
        _ options: RendezvousOptions, environment: [String: String],
        end: @escaping @Sendable (String, WorkerError.Code) -> Void
    ) throws -> Ranks {
        try options.validate()
        let deadline = ContinuousClock.now + .seconds(options.timeoutSeconds)
        try OpenMPIServer.wait(environment: environment, until: deadline)
        // Before there are sockets, which the helper that Open MPI starts would keep open after this process's end.
        var communicator = try MPICommunicator.initialize()
        let watch: RankWatch
        do {
            watch = try Rendezvous.meet(options) { end($0, .failed) }
        } catch {
            try? communicator.finalize()
            throw error
        }
        let limit = Task {
            guard (try? await Task.sleep(until: deadline)) != nil else { return }
            end(
                "MPI has not connected the \(options.worldSize) ranks after \(options.timeoutSeconds) s "
                    + "(--rendezvous-timeout); have all the same ompi-server, and can they reach each other?",
                .coordinatorUnreachable)
        }
        defer { limit.cancel() }
        // Rank r connects to the world of those below it.
        if options.rank > 0 { communicator = try communicator.connect(to: watch.waitForTurn()) }
        let port = options.rank == 0 ? try MPICommunicator.openPort() : ""
        for rank in options.rank + 1..<options.worldSize {
            watch.giveTurn(to: rank, port: port)
            communicator = try communicator.accept(port: port)
        }
        return Ranks(communicator: communicator, watch: watch)
    }

    func nodes() throws -> [Int] { try watch == nil ? communicator.nodes() : communicator.nodesByName() }

    /// Whether each rank has to tell people of the job's end, because nobody collects what they write.
    var areApart: Bool { watch != nil }

    /// Leaves the job. Collective.
    func finalize(exitCode: Int32) throws {
        if let watch {
            try communicator.barrier()
            watch.leave()
            // Nobody minds a rank any more that does not come here.
            DispatchQueue.global().asyncAfter(deadline: .now() + 10) { _exit(exitCode) }
        }
        try communicator.finalize()
    }

    /// Ends all processes of the job, this one after it has said why.
    func abort(_ error: any Error, report: (String) -> Void) -> Never {
        let reason = "rank \(communicator.rank) of \(communicator.size): \(error)"
        let code = WorkerError.Code.failed.rawValue
        guard let watch else {
            report(reason)
            communicator.abort(code: code)
        }
        // What MPI says may come from the death of another rank, which is the better reason.
        if error is CommunicatorError { sleep(1) }
        if watch.fail(reason) { report(reason) } else { sleep(3) }
        // MPI would wait for the other ranks.
        _exit(code)
    }
}
