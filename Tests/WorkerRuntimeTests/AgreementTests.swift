import MessagePassing
import Testing
import WorkerRuntime

@Suite struct AgreementTests {
    @Test(arguments: [1, 2, 3]) func allGoOnWhenAllCan(worldSize: Int) throws {
        let results = try ThreadCommunicator.run(worldSize: worldSize) { communicator in
            try communicator.agree { communicator.rank * 10 }
        }
        #expect(results == (0..<worldSize).map { $0 * 10 })
    }

    @Test(arguments: 1...7) func lowestFailedRankGivesTheReason(failing: Int) throws {
        // Bit r of `failing`: whether rank r fails.
        let results = try outcomes(worldSize: 3) { communicator in
            try communicator.agree {
                if failing >> communicator.rank & 1 == 1 {
                    throw WorkerError(.coordinatorUnreachable, "rank \(communicator.rank)")
                }
            }
        }
        let lowest = failing.trailingZeroBitCount
        for (rank, result) in results.enumerated() {
            guard case .failure(let error) = result else {
                Issue.record("rank \(rank) went on")
                continue
            }
            let failure = try #require(error as? JobFailure)
            #expect(failure.rank == lowest)
            #expect(failure.exitCode == 69)
            #expect((failure.reason as? WorkerError)?.description == (rank == lowest ? "rank \(lowest)" : nil))
        }
    }

    @Test func otherErrorsEndWithOne() throws {
        struct Other: Error {}
        let results = try outcomes(worldSize: 2) { try $0.agree { throw Other() } }
        for result in results {
            guard case .failure(let error) = result else { continue }
            #expect((error as? JobFailure)?.exitCode == 1)
        }
    }

    @Test(arguments: [0, 1, 1000], [0, 1]) func broadcastTakesAnyNumberOfBytes(count: Int, root: Int) throws {
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
        let results = try ThreadCommunicator.run(worldSize: 2) { communicator in
            try communicator.broadcast(communicator.rank == root ? bytes : [], root: root)
        }
        #expect(results == [bytes, bytes])
    }
}
