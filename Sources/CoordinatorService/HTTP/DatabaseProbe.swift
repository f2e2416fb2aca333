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
        // Whichever comes first. A database that hangs keeps the one trial, and nobody who asks.
        let (outcomes, outcome) = AsyncStream.makeStream(of: Findings.self)
        let result = Task { outcome.yield(await trial.value) }
        let timer = Task { [limits] in
            guard (try? await Task.sleep(for: limits.healthCheckTime)) != nil else { return }
            let silence = "the database did not answer within \(limits.healthCheckTime)"
            outcome.yield((silence, silence))
        }
        defer {
            result.cancel()
            timer.cancel()
        }
        for await findings in outcomes { return findings }
        return ("the question was cancelled", "the question was cancelled")
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
