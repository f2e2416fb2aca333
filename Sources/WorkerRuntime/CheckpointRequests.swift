import Foundation
import Synchronization

/// What somebody asks of a run from outside: a checkpoint, or a checkpoint and the end. It is looked at after each step; the end
/// also before each micro-batch of a validation.
public final class CheckpointRequests: Sendable {
    private let saves = Atomic(false)
    private let stops = Atomic(false)
    /// Whether they come by signals.
    private let areSignals = Atomic(false)

    public init() {}

    /// Asks for a checkpoint.
    public func save() { saves.store(true, ordering: .relaxed) }

    /// Asks the run to end after a checkpoint.
    public func stop() { stops.store(true, ordering: .relaxed) }

    /// Whether a checkpoint was asked for since the last call.
    func takeSave() -> Bool { saves.exchange(false, ordering: .relaxed) }

    var isStopped: Bool { stops.load(ordering: .relaxed) }

    /// Those of this process: SIGUSR1 asks for a checkpoint, SIGTERM for one and the end. The thread that calls this may compute.
    public static func fromSignals() -> CheckpointRequests {
        // Made before a handler can look at it.
        let requests = ofProcess
        giveSignalsAStack()
        for signal in [SIGUSR1, SIGTERM] { heed(signal) }
        requests.areSignals.store(true, ordering: .relaxed)
        return requests
    }

    /// From now on the process's first SIGINT is a SIGTERM, unless it is ignored, as by a shell's background jobs. Before there is
    /// anything to save it ends the process, and so does the second one: who types it twice does not want to wait.
    package func heedInterrupts() {
        var action = sigaction()
        guard areSignals.load(ordering: .relaxed), sigaction(SIGINT, nil, &action) == 0, !action.ignores else { return }
        Self.heed(SIGINT, flags: Int32(bitPattern: SA_RESETHAND))
    }

    private static func heed(_ signal: Int32, flags: Int32 = 0) {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { signal in
            // Nothing but a store, as behoves a handler.
            if signal == SIGUSR1 {
                CheckpointRequests.ofProcess.save()
            } else {
                CheckpointRequests.ofProcess.stop()
            }
        }
        // What waits for a disk or a socket goes on waiting.
        action.sa_flags = SA_RESTART | SA_ONSTACK | flags
        sigaction(signal, &action, nil)
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
