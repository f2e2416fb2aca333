import ControlProtocol
import Foundation

/// Whether the coordinator can do its work, in named checks.
struct Health: Sendable {
    struct Check: Hashable, Sendable {
        let name: String
        /// One line; nil: all is well.
        let failure: String?
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
            Check(name: "database-readable", failure: readable), Check(name: "database-writable", failure: writable),
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
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { return String(cString: strerror(errno)) }
        let free = Int(clamping: status.f_bavail).multipliedReportingOverflow(by: Int(clamping: status.f_frsize))
        return free.overflow || free.partialValue >= limits.freeDiskBytes
            ? nil : "\(free.partialValue) bytes are free, less than \(limits.freeDiskBytes) (free disk bytes)"
    }
}
