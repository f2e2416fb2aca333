import Synchronization

/// Why the last attempt failed, for the message when there are no more.
final class LastFailure: Sendable {
    private let storage = Mutex<String?>(nil)

    var message: String? {
        get { storage.withLock(\.self) }
        set { storage.withLock { $0 = newValue } }
    }
}
