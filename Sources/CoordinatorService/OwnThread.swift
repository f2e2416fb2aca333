import Dispatch
import Glibc

/// Runs what blocks or computes for long on a thread of its own, which ends with it.
///
/// Swift's pool and Dispatch's queues have about as many threads as there are processors: a few bodies that take long would hold up
/// all others. Its stack is as large as theirs, the system's default (8 MB, as a rule). The caller bounds how many there are.
enum OwnThread {
    /// - Parameter niceness: how much it lets other threads go first, from 0 to 19 (nice(2), which is about a thread on Linux).
    static func run<Value: Sendable>(niceness: Int32 = 0, _ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            start(niceness) { continuation.resume(returning: body()) }
        }
    }

    static func run<Value: Sendable>(
        niceness: Int32 = 0, _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            start(niceness) { continuation.resume(with: Result(catching: body)) }
        }
    }

    /// Foundation's `Thread` does not tell when the system has no thread left, and whoever waits would wait for good.
    private static func start(_ niceness: Int32, _ body: @escaping @Sendable () -> Void) {
        var thread = pthread_t()
        let work = Unmanaged.passRetained(
            Work {
                if niceness > 0 { _ = nice(niceness) }
                body()
            })
        let code = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            }, work.toOpaque())
        guard code != 0 else {
            pthread_detach(thread)
            return
        }
        work.release()
        DispatchQueue.global(qos: .utility).async { body() }
    }

    /// What a new thread gets from the one that starts it.
    private final class Work {
        let body: @Sendable () -> Void

        init(_ body: @escaping @Sendable () -> Void) {
            self.body = body
        }
    }
}
