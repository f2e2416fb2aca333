import Foundation
import Synchronization

/// What somebody asks of a run from outside: a checkpoint, or a checkpoint and the end. It is looked at after each step.
public final class CheckpointRequests: Sendable {
    private let saves = Atomic(false)
    private let stops = Atomic(false)

    public init() {}

    /// Asks for a checkpoint.
    public func save() { saves.store(true, ordering: .relaxed) }

    /// Asks the run to end after a checkpoint.
    public func stop() { stops.store(true, ordering: .relaxed) }

    /// Whether a checkpoint was asked for since the last call.
    func takeSave() -> Bool { saves.exchange(false, ordering: .relaxed) }

    var isStopped: Bool { stops.load(ordering: .relaxed) }

    /// Those of this process: SIGUSR1 asks for a checkpoint, SIGTERM for one and the end.
    public static func fromSignals() -> CheckpointRequests {
        // Made before a handler can look at it.
        let requests = ofProcess
        for signal in [SIGUSR1, SIGTERM] {
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { signal in
                // Nothing but a store, as behoves a handler.
                if signal == SIGTERM {
                    CheckpointRequests.ofProcess.stop()
                } else {
                    CheckpointRequests.ofProcess.save()
                }
            }
            // What waits for a disk or a socket goes on waiting.
            action.sa_flags = SA_RESTART
            sigaction(signal, &action, nil)
        }
        return requests
    }

    private static let ofProcess = CheckpointRequests()
}
