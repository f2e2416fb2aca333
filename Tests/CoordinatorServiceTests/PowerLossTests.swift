import ControlTestSupport
import CoordinatorCore
import CoordinatorService
import Foundation
import SQLiteFaults
import TestSupport
import Testing

/// Power is lost at every write and sync of a recorded session.
struct PowerLossTests {
    /// A session on a disk, and what was in the database after each answer.
    private struct Recording {
        let disk: FaultyDisk
        /// What the database held at the beginning, and after each answer; the disk's changes by then.
        var moments: [(changes: Int64, content: [String])]

        init(_ durability: CoordinatorStore.Durability) async throws {
            let disk = FaultyDisk()
            var store = try disk.open(durability)
            var moments = [(disk.changes, try StoreWorkload.dump(store))]
            let requests = try StoreWorkload.requests
            // The coordinator is stopped and started in between.
            for part in [requests.prefix(12), requests.dropFirst(12)] {
                try await StoreWorkload.withProcessor(store) { processor in
                    for request in part {
                        if case .refused(let error) = await processor.answer(to: request) { throw error }
                        moments.append((disk.changes, try StoreWorkload.dump(store)))
                    }
                }
                try store.close()
                store = try disk.open(durability)
            }
            try store.close()
            self.disk = disk
            self.moments = moments
        }

        /// What is wrong with the database after power was lost at change number `change`.
        func problem(at change: Int64, _ loss: FaultyLoss, seed: UInt64) -> String? {
            let found: [String]
            do {
                let store = try disk.afterPowerLoss(at: change, loss, seed: seed).open()
                defer { try? store.close() }
                found = try StoreWorkload.dump(store)
            } catch {
                return "\(error)"
            }
            let answers = moments.lastIndex { $0.changes <= change } ?? 0
            // The transaction that was under way may be there as well: whole.
            let expected = moments[answers...].prefix(2).map(\.content)
            if expected.contains(found) { return nil }
            let other = moments.lastIndex { $0.content == found }
            return "after \(answers) answers the database is that of \(other.map(String.init) ?? "no") answers"
        }

        func problems(_ losses: [FaultyLoss], seeds: [UInt64]) -> [String] {
            (0...disk.changes).flatMap { change in
                losses.flatMap { loss in
                    seeds.compactMap { seed in
                        problem(at: change, loss, seed: seed).map { "change \(change), \(loss), seed \(seed): \($0)" }
                    }
                }
            }
        }
    }

    @Test func nothingAcknowledgedIsLost() async throws {
        let recording = try await Recording(.full)
        let seed = TestRuns.seed()
        print("\(recording.disk.changes) changes, \(recording.moments.count - 1) answers")
        #expect(recording.problems([FAULTY_LOSS_ALL, FAULTY_LOSS_NONE], seeds: [0]) == [])
        let seeds = (0..<UInt64(TestRuns.count(1, soak: 50))).map { seed &+ $0 }
        #expect(recording.problems([FAULTY_LOSS_SUFFIX, FAULTY_LOSS_SECTORS], seeds: seeds) == [])
    }

    /// The canary: were power loss simulated too mildly, this would lose nothing either.
    @Test func withoutSyncsAcknowledgementsAreLost() async throws {
        let recording = try await Recording(.normal)
        let problems = recording.problems([FAULTY_LOSS_ALL], seeds: [0])
        print("\(problems.count) of \(recording.disk.changes) losses of power lost acknowledgements")
        #expect(problems.count > 50)
        // Lost, not damaged.
        #expect(problems.allSatisfy { $0.contains("after") && !$0.contains("no answers") })
    }
}
