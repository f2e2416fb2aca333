import FlyingSocks
import Foundation
import Logging

/// What to do when `accept` fails: go on at once when only that one connection is lost, wait when the machine lacks something
/// (descriptors, memory), so that the loop does not spin until it has it again.
struct AcceptBackOff {
    private static let shortest = Duration.milliseconds(5)
    private static let longest = Duration.seconds(1)

    private let logger: Logger
    private var delay = Self.shortest
    private var isFailing = false

    init(logger: Logger) {
        self.logger = logger
    }

    mutating func succeeded() {
        delay = Self.shortest
        isFailing = false
    }

    /// - Throws: `CancellationError`.
    mutating func failed(_ error: any Error) async throws {
        try Task.checkCancellation()
        guard Self.isLasting(error) else { return }
        // Once, not at every attempt.
        if !isFailing { logger.warning("cannot accept connections, trying on", metadata: ["reason": "\(error)"]) }
        isFailing = true
        try await Task.sleep(for: delay)
        delay = min(delay * 2, Self.longest)
    }

    /// Whether the machine lacks something; else only one connection is lost.
    static func isLasting(_ error: any Error) -> Bool {
        switch error {
        case SocketError.failed(_, ECONNABORTED, _), SocketError.failed(_, EINTR, _), SocketError.failed(_, EPROTO, _):
            false
        default: true
        }
    }
}
