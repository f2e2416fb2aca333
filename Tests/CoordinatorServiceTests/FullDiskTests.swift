import ControlProtocol
import ControlTestSupport
import CoordinatorService
import ExpertPlacement
import GRDB
import Testing

struct FullDiskTests {
    /// SQLite says "full" when the file may have no more pages (https://www.sqlite.org/pragma.html#pragma_max_page_count), as
    /// it does on a full disk.
    @Test func aFullDiskRefusesChangesServesReadsAndRecovers() async throws {
        try await LiveCoordinator.run { coordinator in
            let client = try await coordinator.client()
            _ = try await client.send(Samples.registerRun())
            _ = try await client.send(Samples.registerWorker())
            _ = try await client.send(Samples.report())
            try await Self.setPageLimit(coordinator.store, toCurrent: true)

            var acknowledged = [1]
            var refusal: ControlError?
            for sequence in 2...2_000 where refusal == nil {
                do throws(ControlError) {
                    acknowledged.append(try await client.send(Samples.report(sequence: sequence)).sequence ?? 0)
                } catch {
                    refusal = error
                }
            }
            #expect(refusal?.code == .storageUnavailable)
            #expect(refusal?.isTransient == true)
            let large = ExpertModel(
                hiddenSize: 8, layers: [[Int]](repeating: [Int](repeating: 16, count: 200), count: 20))
            await #expect(throws: ControlError.self) {
                try await client.send(Samples.registerRun("other", model: large))
            }
            #expect(try await client.send(ShowRun(run: "shakespeare")).storedReports == acknowledged.count)
            #expect(try await client.send(ListRuns()).runs.map(\.step) == [20])
            #expect(try await client.send(ListWorkers()).workers.map(\.rank) == [0])
            #expect(try await client.send(ListPlans()).plans.map(\.revision) == [1])
            #expect(try await client.send(ShowPlacement()).plan.revision == 1)

            try await Self.setPageLimit(coordinator.store, toCurrent: false)
            let next = acknowledged.count + 1
            #expect(try await client.send(Samples.report(sequence: next)).sequence == next)
            #expect(try await client.send(Samples.registerRun("other")).incarnation == 1)
            let stored = try await coordinator.store.queue.read { db in
                try Int.fetchAll(db, sql: "SELECT sequence FROM reports ORDER BY sequence")
            }
            #expect(stored == acknowledged + [next])
        }
    }

    private static func setPageLimit(_ store: CoordinatorStore, toCurrent: Bool) async throws {
        try await store.queue.writeWithoutTransaction { db in
            let pages = toCurrent ? try Int.fetchOne(db, sql: "PRAGMA page_count") ?? 0 : 1 << 20
            try db.execute(sql: "PRAGMA max_page_count = \(pages)")
        }
    }

    @Test func onlySoManyReportsAreStoredButAllLoads() async throws {
        var limits = Limits()
        limits.storedReportsPerRun = 100
        try await LiveCoordinator.run(limits: limits) { coordinator in
            let client = try await coordinator.client()
            _ = try await client.send(Samples.registerRun())
            _ = try await client.send(Samples.registerWorker())
            for sequence in 1...600 { _ = try await client.send(Samples.report(sequence: sequence)) }
            let counts = try await coordinator.store.queue.read { db in
                try ["reports", "loads"].map { try Int.fetchOne(db, sql: "SELECT count(*) FROM \($0)") ?? 0 }
            }
            // 512 reports came before the last deletion, which left 100.
            #expect(counts == [188, 600])
        }
    }
}
