import Foundation

/// Another thread or program did not do what was waited for.
public struct NeverHappened: Error, CustomStringConvertible {
    public let description: String

    fileprivate init(_ what: String, within limit: Duration) {
        description = "it did not happen within \(limit) that \(what)"
    }
}

/// How long to wait before asking again.
private let pause = Duration.milliseconds(2)

/// Waits until something is so that others bring about. What never comes fails the test instead of keeping it for good.
/// - Parameters:
///   - what: ends "it did not happen that …".
///   - limit: long enough for a machine that has much else to do.
///   - isSo: asked again and again; what has to go on meanwhile goes on here.
/// - Throws: `NeverHappened`, or what `isSo` throws.
public func eventually(
    _ what: String, within limit: Duration = .seconds(60), _ isSo: () throws -> Bool
) throws {
    let deadline = SuspendingClock.now + limit
    while try !isSo() {
        guard SuspendingClock.now < deadline else { throw NeverHappened(what, within: limit) }
        Thread.sleep(forTimeInterval: pause / .seconds(1))
    }
}

/// The same for tasks, which leave their thread to others meanwhile.
public func eventually(
    _ what: String, within limit: Duration = .seconds(60), _ isSo: () async throws -> Bool
) async throws {
    let deadline = SuspendingClock.now + limit
    while try await !isSo() {
        guard SuspendingClock.now < deadline else { throw NeverHappened(what, within: limit) }
        try await Task.sleep(for: pause)
    }
}
