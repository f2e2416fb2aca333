import CoordinatorService
import SQLiteFaults

/// A disk in memory that loses power, and fails.
///
/// Unchecked: a test and the store's queue use it in turns, each waiting for the other.
final class FaultyDisk: @unchecked Sendable {
    private let disk: OpaquePointer

    init() { disk = faulty_disk_make() }
    private init(_ disk: OpaquePointer) { self.disk = disk }
    deinit { faulty_disk_free(disk) }

    func open(_ durability: CoordinatorStore.Durability = .full) throws -> CoordinatorStore {
        try CoordinatorStore(
            path: path, durability: durability,
            checkpointPages: 40)
    }

    /// Of the database on it, for SQLite.
    var path: String { "file:/moe.db?vfs=" + String(cString: faulty_disk_name(disk)) }

    var operations: Int64 { faulty_disk_operations(disk) }
    var changes: Int64 { faulty_disk_changes(disk) }
    var failures: Int64 { faulty_disk_failures(disk) }

    func fail(_ kind: FaultyKind, from first: Int64, count: Int64 = .max) {
        faulty_disk_fail(disk, kind, first, count)
    }

    func heal() { faulty_disk_fail(disk, FAULTY_IO_ERROR, 0, 0) }

    func afterPowerLoss(at change: Int64, _ loss: FaultyLoss, seed: UInt64 = 0) -> FaultyDisk {
        FaultyDisk(faulty_disk_after_power_loss(disk, change, loss, seed))
    }
}
