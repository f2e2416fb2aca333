import GRDB
import Synchronization

/// Counts transactions.
final class Commits: TransactionObserver {
    private let total = Mutex(0)
    var count: Int { total.withLock { $0 } }

    func observes(eventsOfKind eventKind: DatabaseEventKind) -> Bool { true }
    func databaseDidChange(with event: DatabaseEvent) {}
    func databaseDidCommit(_ db: Database) { total.withLock { $0 += 1 } }
    func databaseDidRollback(_ db: Database) {}
}
