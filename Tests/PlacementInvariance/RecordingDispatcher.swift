import ExpertParallelism
import ExpertPlacement
import Layers
import Synchronization

/// Picks as another dispatcher does, and keeps what the router chose.
final class RecordingDispatcher: TokenDispatcher {
    private let inner: any TokenDispatcher
    private let recorded = Mutex([Int]())

    init(_ inner: any TokenDispatcher) {
        self.inner = inner
    }

    /// A number for each choice of an expert: from step, layer, token and expert.
    var choices: [Int] { recorded.withLock { $0 } }

    func assignTask(_ routing: Routing, placement: LayerPlacement, origin: DispatchOrigin) -> [Int] {
        let new = zip(routing.tokens, routing.experts).map { token, expert in
            ((origin.step * 1_000 + origin.layer) * 100_000 + origin.firstToken + Int(token)) * 1_000 + Int(expert)
        }
        recorded.withLock { $0 += new }
        var inner = inner
        return inner.assignTask(routing, placement: placement, origin: origin)
    }

    func chooseReplica(token: Int, expert: Int, placement: ExpertPlacement, origin: DispatchOrigin) -> Int {
        inner.chooseReplica(token: token, expert: expert, placement: placement, origin: origin)
    }
}
