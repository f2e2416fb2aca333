import Dispatch

/// Synchronous work on a thread of its own, beside what the caller does until it asks for the result.
///
/// Unchecked: `outcome` is set before `hasEnded` is signalled, and read after.
final class ConcurrentCall<Value>: @unchecked Sendable {
    private var outcome: Result<Value, any Error>?
    private let hasEnded = DispatchSemaphore(value: 0)

    /// - Parameter body: must not change what the caller uses meanwhile, nor call a communicator.
    init(_ body: @escaping () throws -> Value) {
        nonisolated(unsafe) let body = body
        DispatchQueue.global(qos: .userInitiated).async { [self] in
            outcome = Result { try body() }
            hasEnded.signal()
        }
    }

    /// Waits for the end, the first time that it is called.
    lazy var result: Result<Value, any Error> = {
        hasEnded.wait()
        guard let outcome else { preconditionFailure("ended without an outcome") }
        return outcome
    }()
}
