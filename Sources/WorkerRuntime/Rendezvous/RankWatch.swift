import ControlProtocol
import Dispatch
import Synchronization

/// Watches over the ranks of a world without a launcher: every rank has a connection to rank 0, over which signs of life go both
/// ways. When one is gone without a goodbye, or is silent for too long, all ranks end, wherever they are in MPI.
///
/// Silence is counted in this process's own beats, so that one that was stopped itself does not blame the others.
public final class RankWatch: Sendable {
    private struct State {
        /// Beats of this process since the last message of each rank.
        var quietBeats: [Int: Int] = [:]
        /// Those that have said goodbye.
        var parted: Set<Int> = []
        var isLeaving = false
        /// The first loss counts.
        var isOver = false
        var port: String?
    }

    private struct Line: Sendable {
        let peer: RankPeer
        let messages: AsyncStream<RankMessage>.Continuation
        let writer: Task<Void, Never>
    }

    /// What ends the process: one line for people.
    public typealias End = @Sendable (String) -> Void

    private let rank: Int
    private let worldSize: Int
    private let beat: Duration
    private let silence: Duration
    private let end: End
    private let lines: [Line]
    private let state = Mutex(State())
    private let hasTurn = DispatchSemaphore(value: 0)

    /// - Parameters:
    ///   - peers: on rank 0 all others, elsewhere rank 0.
    ///   - end: called once, when a rank is lost.
    init(
        rank: Int, worldSize: Int, peers: [RankPeer], silence: Duration, limits: Limits, end: @escaping End
    ) {
        self.rank = rank
        self.worldSize = worldSize
        self.silence = silence
        self.end = end
        beat = min(limits.rankBeat, silence / 10)
        lines = peers.map { peer in
            let (messages, continuation) = AsyncStream.makeStream(of: RankMessage.self)
            let writer = Task<Void, Never> {
                for await message in messages {
                    // Whoever reads knows of the end, too.
                    guard (try? await peer.link.send(message)) != nil else { return }
                }
            }
            return Line(peer: peer, messages: continuation, writer: writer)
        }
        // The watch lasts as long as the process.
        for line in lines { Task { await listen(to: line.peer) } }
        Task { await keepTime() }
    }

    /// Lets `rank` connect to the MPI port. On rank 0.
    public func giveTurn(to rank: Int, port: String) {
        lines.first { $0.peer.rank == rank }?.messages.yield(.turn(port: port))
    }

    /// Waits for rank 0's MPI port. On other ranks, on the thread that calls MPI.
    public func waitForTurn() -> String {
        hasTurn.wait()
        return state.withLock { $0.port ?? "" }
    }

    /// Says that this rank ends as it should, and no longer minds who goes. Blocks until that is said.
    public func leave() {
        state.withLock { $0.isLeaving = true }
        tellFromThread(.goodbye)
    }

    /// Says why this rank, and with it the job, ends. Blocks until that is said.
    /// - Returns: false when the job ends already for another reason, which `end` tells.
    public func fail(_ reason: String) -> Bool {
        let isFirst = state.withLock { state in
            defer { state.isOver = true }
            return !state.isOver
        }
        if isFirst { tellFromThread(.lost(rank: rank, reason: Self.text(reason))) }
        return isFirst
    }

    private func listen(to peer: RankPeer) async {
        do {
            while true {
                let message = try await peer.link.receive()
                state.withLock { $0.quietBeats[peer.rank] = 0 }
                switch message {
                case .beat, .hello, .begin: break
                case .turn(let port):
                    state.withLock { $0.port = port }
                    hasTurn.signal()
                case .goodbye: state.withLock { _ = $0.parted.insert(peer.rank) }
                case .lost(let rank, let reason): await lose(rank, Self.text(reason))
                }
            }
        } catch {
            await lose(peer.rank, "\(name(peer)) is gone")
        }
    }

    private func keepTime() async {
        let limit = Int(silence / beat)
        while (try? await Task.sleep(for: beat)) != nil {
            guard !state.withLock({ $0.isLeaving || $0.isOver }) else { return }
            let silent = state.withLock { state in
                lines.filter { line in
                    let beats = state.quietBeats[line.peer.rank, default: 0] + 1
                    state.quietBeats[line.peer.rank] = beats
                    return beats > limit
                }
            }
            for line in silent { await lose(line.peer.rank, "\(name(line.peer)) has been silent for \(silence)") }
            for line in lines { line.messages.yield(.beat) }
        }
    }

    private func lose(_ lost: Int, _ reason: String) async {
        let counts = state.withLock { state in
            if state.isLeaving || state.isOver || state.parted.contains(lost) { return false }
            state.isOver = true
            return true
        }
        guard counts else { return }
        if rank == 0 { await tell(.lost(rank: lost, reason: reason), except: lost) }
        end(reason)
    }

    /// Sends a last message, and waits until it is on its way, a second at most.
    private func tell(_ message: RankMessage, except rank: Int? = nil) async {
        let listeners = lines.filter { $0.peer.rank != rank }
        for line in listeners {
            line.messages.yield(message)
            line.messages.finish()
        }
        let limit = Task {
            guard (try? await Task.sleep(for: .seconds(1))) != nil else { return }
            for line in listeners { line.writer.cancel() }
        }
        for line in listeners { await line.writer.value }
        limit.cancel()
    }

    private func tellFromThread(_ message: RankMessage) {
        _ = try? AsynchronousCall.run(within: .seconds(2)) { await self.tell(message) }
    }

    private func name(_ peer: RankPeer) -> String { "rank \(peer.rank) of \(worldSize) (\(peer.place))" }

    private static func text(_ reason: String) -> String { reason.fitting(bytes: Limits.standard.reasonBytes) }
}
