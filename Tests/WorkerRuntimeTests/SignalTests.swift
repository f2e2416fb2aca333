import Foundation
import Synchronization
import Tensors
import TestSupport
import Testing
import WorkerRuntime

/// Signals that ask for checkpoints come while the thread that gets them computes.
@Suite(.serialized) struct SignalTests {
    private static let isDone = Atomic(false)

    /// What the process does at each signal.
    private struct Actions {
        private let actions = [SIGUSR1, SIGTERM, SIGINT].map { signal in
            var action = sigaction()
            sigaction(signal, nil, &action)
            return (signal, action)
        }

        func restore() {
            for (signal, action) in actions {
                var action = action
                sigaction(signal, &action, nil)
            }
        }
    }

    /// A job in the background of a shell is not meant when somebody types Ctrl-C.
    @Test func whatIsIgnoredStaysIgnored() async throws {
        let former = Actions()
        defer { former.restore() }
        try await onOwnThread {
            for isIgnored in [true, false] {
                signal(SIGINT, isIgnored ? SIG_IGN : SIG_DFL)
                CheckpointRequests.fromSignals().heedInterrupts()
                let found = unsafeBitCast(signal(SIGINT, SIG_DFL), to: Int.self)
                #expect((found == unsafeBitCast(SIG_IGN, to: Int.self)) == isIgnored)
            }
        }
    }

    /// Without a stack for signals, one product in ten is another one (oneDNN 2.6.3, AVX-512).
    @Test func productsStayWhatTheyAre() async throws {
        let former = Actions()
        defer { former.restore() }
        let wrong = try await onOwnThread {
            _ = CheckpointRequests.fromSignals()
            var random = SeededGenerator(seed: 7)
            func matrix(_ rows: Int, _ columns: Int) -> Tensor {
                Tensor(
                    (0..<rows * columns).map { _ in .random(in: -1...1, using: &random) }, rows: rows, columns: columns)
            }
            let (a, b, c) = (matrix(128, 700), matrix(128, 128), matrix(700, 128))
            func product() -> [Float] {
                GEMM.multiply(a, transposeA: true, b, transposeB: true, into: c)
                return (0..<c.rows).flatMap { row in (0..<c.columns).map { c[row, $0] } }
            }
            let expected = product()
            let computing = pthread_self()
            let end = DispatchSemaphore(value: 0)
            Thread.detachNewThread {
                while !Self.isDone.load(ordering: .relaxed) {
                    pthread_kill(computing, SIGUSR1)
                    usleep(20)
                }
                end.signal()
            }
            let wrong = (0..<500).count { _ in product() != expected }
            Self.isDone.store(true, ordering: .relaxed)
            end.wait()
            return wrong
        }
        #expect(wrong == 0, "of 500 products")
    }
}
