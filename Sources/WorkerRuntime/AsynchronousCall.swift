import Dispatch
import Synchronization

/// Runs asynchronous work from the training's thread, which is synchronous and none of the cooperative pool's.
enum AsynchronousCall {
    /// Shared by the waiting thread and the task.
    private final class Outcome<Value: Sendable>: Sendable {
        let result = Mutex<Result<Value, any Error>?>(nil)
    }

    /// Waits for `body`, at most for `limit`; then cancels it.
    /// - Returns: its result; nil when the time was over.
    static func run<Value: Sendable>(
        within limit: Duration, _ body: @escaping @Sendable () async throws -> Value
    ) throws -> Value? {
        let outcome = Outcome<Value>()
        let hasEnded = DispatchSemaphore(value: 0)
        let task = Task {
            let result: Result<Value, any Error>
            do { result = .success(try await body()) } catch { result = .failure(error) }
            outcome.result.withLock { $0 = result }
            hasEnded.signal()
        }
        guard hasEnded.wait(timeout: .now() + limit / .seconds(1)) == .timedOut else {
            return try outcome.result.withLock { try $0?.get() }
        }
        task.cancel()
        // The end may have come just now; an error after cancellation says nothing.
        return outcome.result.withLock { try? $0?.get() }
    }
}
