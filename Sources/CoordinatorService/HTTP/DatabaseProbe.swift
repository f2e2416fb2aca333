import ControlProtocol
import GRDB

/// Tries the database out: one read, and one write that changes nothing but has to be synced as any other.
///
/// At most one trial is under way, however many ask; those who come meanwhile share what it finds.
actor DatabaseProbe {
    /// What is wrong, if anything.
    typealias Findings = (readable: String?, writable: String?)

    private let store: CoordinatorStore
    private let limits: Limits
    private var trial: Task<Findings, Never>?

    init(store: CoordinatorStore, limits: Limits) {
        self.store = store
        self.limits = limits
    }

    func findings() async -> Findings {
        let trial = self.trial ?? Task { await attempt() }
        self.trial = trial
        if let findings = await trial.outcome(within: limits.healthCheckTime) { return findings }
        let silence =
            Task.isCancelled
            ? "the question was cancelled" : "the database did not answer within \(limits.healthCheckTime)"
        return (silence, silence)
    }

    /// Waits for a trial that is under way: the database must not be closed before. Nobody asks any more.
    func finish() async {
        _ = await trial?.value
    }

    private func attempt() async -> Findings {
        defer { trial = nil }
        return await (finding { try await store.tryReading() }, finding { try await store.tryWriting() })
    }

    private func finding(_ body: () async throws -> Void) async -> String? {
        do {
            try await body()
            return nil
        } catch {
            return EventText.line(StoreError.reason(error))
        }
    }
}

extension CoordinatorStore {
    fileprivate func tryReading() async throws {
        try await queue.read { db in _ = try Row.fetchOne(db, sql: "SELECT 1 FROM runs LIMIT 1") }
    }

    /// Writes the number that says whose file this is once more.
    fileprivate func tryWriting() async throws {
        try await queue.write { db in try db.execute(sql: "PRAGMA application_id = \(Self.applicationID)") }
    }
}
