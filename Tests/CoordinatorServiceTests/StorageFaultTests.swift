import ControlProtocol
import CoordinatorCore
import CoordinatorService
import SQLiteFaults
import Testing

/// Every single operation on the disk fails once, for a while, or until somebody makes room.
struct StorageFaultTests {
    struct Fault: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let kind: FaultyKind
        /// Operations that fail; nil: all, until three requests were refused.
        let count: Int64?
    }

    static let faults = [
        Fault(testDescription: "one operation fails", kind: FAULTY_IO_ERROR, count: 1),
        Fault(testDescription: "all fail until three requests were refused", kind: FAULTY_IO_ERROR, count: nil),
        Fault(testDescription: "the disk is full until three requests were refused", kind: FAULTY_FULL, count: nil),
    ]

    @Test(arguments: faults)
    func theSameCoordinatorRecovers(fault: Fault) async throws {
        // What comes out without faults, on a disk on which there is a database already.
        let fresh = FaultyDisk()
        try fresh.open().close()
        let expected = try await play(on: fresh.afterPowerLoss(at: fresh.changes, FAULTY_LOSS_ALL), nil, at: 0).content
        #expect(expected.count > 30)
        var operation: Int64 = 0
        while true {
            let disk = fresh.afterPowerLoss(at: fresh.changes, FAULTY_LOSS_ALL)
            let outcome = try await play(on: disk, fault, at: operation)
            if disk.failures == 0 { break }
            #expect(outcome.problems == [], "operation \(operation)")
            #expect(outcome.content == expected, "operation \(operation)")
            // Before the file was closed, which would have synced all of it.
            let rest = disk.afterPowerLoss(at: outcome.changes, FAULTY_LOSS_ALL)
            let store = try rest.open()
            #expect(try StoreWorkload.dump(store) == expected, "operation \(operation), after power loss")
            try store.close()
            operation += 1
        }
        print("\(fault.testDescription): \(operation) operations")
        #expect(operation > 200)
    }

    /// A coordinator that cannot open its database says so, and can the next time.
    @Test func openingFailsCleanly() async throws {
        var operation: Int64 = 0
        while true {
            let disk = FaultyDisk()
            disk.fail(FAULTY_IO_ERROR, from: operation, count: 1)
            if let store = try? disk.open() { try? store.close() }
            if disk.failures == 0 { break }
            disk.heal()
            for loss in [FAULTY_LOSS_NONE, FAULTY_LOSS_ALL] {
                let rest = disk.afterPowerLoss(at: disk.changes, loss)
                do {
                    try rest.open().close()
                } catch {
                    Issue.record("operation \(operation), \(loss): \(error)")
                }
            }
            operation += 1
        }
        #expect(operation > 50)
    }

    /// Sends each request until it is taken.
    /// - Returns: what went wrong, the disk's changes by the last answer, and what is in the database then.
    private func play(
        on disk: FaultyDisk, _ fault: Fault?, at operation: Int64
    ) async throws -> (problems: [String], changes: Int64, content: [String]) {
        let store = try disk.open()
        if let fault { disk.fail(fault.kind, from: disk.operations + operation, count: fault.count ?? .max) }
        let problems = try await StoreWorkload.withProcessor(store) { processor in
            var problems = [String]()
            var refusals = 0
            for (index, request) in try StoreWorkload.requests.enumerated() {
                var tries = 0
                while case .refused(let error) = await processor.answer(to: request) {
                    if error.code != .storageUnavailable { problems.append("request \(index): \(error)") }
                    if fault?.kind == FAULTY_FULL { try await readEverything(store) }
                    refusals += 1
                    tries += 1
                    if refusals == 3 { disk.heal() }
                    if tries == 10 {
                        problems.append("request \(index) is refused for ever: \(error)")
                        break
                    }
                }
            }
            disk.heal()
            return problems
        }
        let (changes, content) = (disk.changes, try StoreWorkload.dump(store))
        try store.close()
        return (problems, changes, content)
    }

    private func readEverything(_ store: CoordinatorStore) async throws {
        guard let run = try await store.runs(limits: .standard).runs.first?.run else { return }
        _ = try await store.run(ShowRun(run: run), limits: .standard)
        _ = try await store.placement(ShowPlacement(run: run))
        _ = try await store.workers(ListWorkers(), limits: .standard)
        _ = try await store.plans(ListPlans(run: run), limits: .standard)
    }
}
