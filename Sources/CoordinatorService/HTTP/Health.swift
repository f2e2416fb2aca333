import ControlProtocol
import Foundation

/// Whether the coordinator can do its work, in named checks.
package struct Health: Sendable {
    package struct Check: Hashable, Sendable {
        package let name: String
        /// One line; nil: all is well.
        package let failure: String?

        package init(name: String, failure: String?) {
            self.name = name
            self.failure = failure
        }

        /// Whether it says that the database answers.
        var isReadable: Bool { name == Self.readable && failure == nil }

        fileprivate static let readable = "database-readable"

        /// Whether a new process would do better; it would not on a full disk, or with as many clients.
        var isCuredByRestart: Bool { [Self.readable, "planning"].contains(name) }
    }

    private let path: String
    private let database: DatabaseProbe
    private let table: ConnectionTable
    private let processor: ChangeProcessor
    private let planning: PlanningLoop
    private let limits: Limits

    init(
        store: CoordinatorStore, table: ConnectionTable, processor: ChangeProcessor, planning: PlanningLoop,
        limits: Limits
    ) {
        path = store.path
        database = DatabaseProbe(store: store, limits: limits)
        self.table = table
        self.processor = processor
        self.planning = planning
        self.limits = limits
    }

    func checks() async -> [Check] {
        let (readable, writable) = await database.findings()
        return await [
            Check(name: Check.readable, failure: readable), Check(name: "database-writable", failure: writable),
            Check(name: "disk-space", failure: diskSpace()), Check(name: "listener", failure: listener()),
            Check(name: "queue", failure: queue()),
            Check(name: "planning", failure: planning.isRunning ? nil : "it has stopped"),
        ]
    }

    /// After the last question.
    func finish() async {
        await database.finish()
    }

    private func listener() -> String? {
        if table.isStopping { return "the coordinator stops" }
        guard table.isAccepting else { return "connections cannot be accepted" }
        return table.count < limits.connections
            ? nil : "there are \(limits.connections) connections already (connections)"
    }

    private func queue() async -> String? {
        await processor.queuedChanges < limits.queuedChanges
            ? nil : "\(limits.queuedChanges) changes are queued already (queued changes)"
    }

    private func diskSpace() -> String? {
        guard let free = Self.freeBytes(at: path) else { return String(cString: strerror(errno)) }
        return free >= limits.freeDiskBytes
            ? nil : "\(free) bytes are free, less than \(limits.freeDiskBytes) (free disk bytes)"
    }

    /// - Returns: nil when the system does not say, but why (errno).
    static func freeBytes(at path: String) -> Int? {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { return nil }
        let free = Int(clamping: status.f_bavail).multipliedReportingOverflow(by: Int(clamping: status.f_frsize))
        return free.overflow ? .max : free.partialValue
    }
}
