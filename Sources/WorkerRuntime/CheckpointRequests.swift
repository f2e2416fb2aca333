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

    /// Those of this process: SIGUSR1 asks for a checkpoint, SIGTERM and the first SIGINT for one and the end. The thread that calls
    /// this may compute.
    public static func fromSignals() -> CheckpointRequests {
        // Made before a handler can look at it.
        let requests = ofProcess
        giveSignalsAStack()
        for signal in [SIGUSR1, SIGTERM, SIGINT] {
            var action = sigaction()
            // A shell's background jobs have no part in what is typed.
            if signal == SIGINT, sigaction(signal, nil, &action) == 0, action.ignores { continue }
            action = sigaction()
            action.__sigaction_handler.sa_handler = { signal in
                // Nothing but a store, as behoves a handler.
                if signal == SIGUSR1 {
                    CheckpointRequests.ofProcess.save()
                } else {
                    CheckpointRequests.ofProcess.stop()
                }
            }
            // What waits for a disk or a socket goes on waiting.
            action.sa_flags = SA_RESTART | SA_ONSTACK
            // Who types it twice does not want to wait.
            if signal == SIGINT { action.sa_flags |= Int32(bitPattern: UInt32(SA_RESETHAND)) }
            sigaction(signal, &action, nil)
        }
        return requests
    }

    /// Lets handlers run on a stack of their own on this thread. oneDNN's products keep other things than a stack in the stack
    /// pointer, and what the kernel puts there for a handler would fall upon factors, or upon what malloc knows of its memory.
    /// Threads of Dispatch, which compute as well, get no signals.
    private static func giveSignalsAStack() {
        var former = stack_t()
        guard sigaltstack(nil, &former) == 0, former.ss_flags & Int32(SS_DISABLE) != 0 else { return }
        // The registers of the largest processors take 11 KiB. It is the thread's until it ends, and the thread the process's.
        let size = 65_536
        var stack = stack_t(ss_sp: .allocate(byteCount: size, alignment: 16), ss_flags: 0, ss_size: size)
        let code = sigaltstack(&stack, nil)
        precondition(code == 0, "no stack for signals: \(String(cString: strerror(errno)))")
    }

    private static let ofProcess = CheckpointRequests()
}

extension sigaction {
    /// Whether the signal is nobody's.
    fileprivate var ignores: Bool {
        unsafeBitCast(__sigaction_handler.sa_handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
    }
}
