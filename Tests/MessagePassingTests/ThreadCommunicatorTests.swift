import MessagePassing
import Synchronization
import Testing

/// What `ThreadCommunicator` promises beyond the protocol.
@Suite struct ThreadCommunicatorTests {
    struct Failure: Error, Equatable {
        let rank: Int
    }

    @Test func returnsResultsInRankOrder() throws {
        #expect(try ThreadCommunicator.run(worldSize: 4) { $0.rank * 10 + $0.size } == [4, 14, 24, 34])
    }

    @Test func aloneOnTheCallersThread() throws {
        let group = ThreadCommunicator()
        var values: [Float] = [1, 2]
        var span = values.mutableSpan
        try group.allReduce(&span, .sum)
        #expect(values == [1, 2])
        #expect([group.rank, group.size] == [0, 1])
        #expect(group.nodes() == [0])
    }

    @Test func noRankPassesABarrierBeforeAllHaveCome() throws {
        let arrived = Atomic(0)
        let seen = Mutex([Int]())
        _ = try ThreadCommunicator.run(worldSize: 4) { group in
            for round in 1...50 {
                arrived.add(1, ordering: .sequentiallyConsistent)
                try group.barrier()
                let count = arrived.load(ordering: .sequentiallyConsistent)
                if count < 4 * round { seen.withLock { $0.append(count) } }
                try group.barrier()
            }
        }
        #expect(seen.withLock { $0 } == [])
    }

    @Test(arguments: 0..<3) func aRankThatThrowsEndsTheOthers(failing: Int) throws {
        let others = Mutex([Int: CommunicatorError]())
        #expect(throws: Failure(rank: failing)) {
            _ = try ThreadCommunicator.run(worldSize: 3) { group in
                if group.rank == failing { throw Failure(rank: failing) }
                do {
                    try group.barrier()
                } catch let error as CommunicatorError {
                    others.withLock { $0[group.rank] = error }
                    throw error
                }
            }
        }
        let errors = others.withLock { $0 }
        #expect(errors.count == 2)
        for error in errors.values {
            guard case .rankFailed(failing, _) = error else {
                Issue.record("rank \(failing) should be named in \(error)")
                continue
            }
        }
    }

    @Test func aRankThatThrowsEndsThoseThatWaitInOtherGroups() throws {
        #expect(throws: Failure(rank: 3)) {
            _ = try ThreadCommunicator.run(worldSize: 4) { group in
                // Ranks 0 and 2 meet in their half while rank 1 waits for rank 3 in the other.
                let half = try group.split(color: group.rank % 2, key: 0)
                if group.rank == 3 { throw Failure(rank: 3) }
                for _ in 0..<10_000 { try half.barrier() }
                try group.barrier()
            }
        }
    }

    /// A rank that carries on after another has failed meets nobody, rather than itself.
    @Test func noCallSucceedsAfterAFailure() throws {
        let errors = Mutex([CommunicatorError]())
        #expect(throws: Failure(rank: 1)) {
            _ = try ThreadCommunicator.run(worldSize: 2) { group in
                if group.rank == 1 { throw Failure(rank: 1) }
                for _ in 0..<3 {
                    var values = [1]
                    var span = values.mutableSpan
                    do {
                        try group.broadcast(&span, root: 1)
                    } catch let error as CommunicatorError {
                        errors.withLock { $0.append(error) }
                    }
                }
            }
        }
        #expect(errors.withLock { $0.count } == 3)
    }

    @Test func aRankThatEndsEarlyIsNamed() throws {
        #expect(throws: CommunicatorError.rankLeft(rank: 1, call: "barrier")) {
            _ = try ThreadCommunicator.run(worldSize: 3) { group in
                if group.rank != 1 { try group.barrier() }
            }
        }
    }

    @Test func differentCallsAreFoundOnAllRanks() throws {
        try expectMismatch("rank 0 calls barrier, rank 1 allReduce(MessagePassing.Reduction.sum) of float") { group in
            if group.rank == 0 { return try group.barrier() }
            var values: [Float] = [1]
            var span = values.mutableSpan
            try group.allReduce(&span, .sum)
        }
    }

    @Test func differentCountsAreFoundOnAllRanks() throws {
        try expectMismatch("with counts [2], rank 1 broadcast(root: 0) of double with counts [3]") { group in
            var values = [Double](repeating: 0, count: 2 + group.rank % 2)
            var span = values.mutableSpan
            try group.broadcast(&span, root: 0)
        }
    }

    @Test func differentTypesAreFoundOnAllRanks() throws {
        try expectMismatch("of int32 with counts [1], rank 2 allReduce(MessagePassing.Reduction.minimum) of int64") {
            group in
            if group.rank < 2 {
                var values: [Int32] = [1]
                var span = values.mutableSpan
                try group.allReduce(&span, .minimum)
            } else {
                var values = [1]
                var span = values.mutableSpan
                try group.allReduce(&span, .minimum)
            }
        }
    }

    @Test func differentReductionsAreFoundOnAllRanks() throws {
        try expectMismatch("Reduction.sum") { group in
            var values = [1]
            var span = values.mutableSpan
            try group.allReduce(&span, group.rank == 1 ? .sum : .maximum)
        }
    }

    @Test func blocksThatDoNotFitAreFoundOnAllRanks() throws {
        try expectMismatch("rank 1 sends 2 entries to rank 2, which expects 1") { group in
            let sendCounts = [1, 1, group.rank == 1 ? 2 : 1]
            let values = [Int](repeating: 0, count: sendCounts.reduce(0, +))
            var received = [0, 0, 0]
            var span = received.mutableSpan
            try group.allToAll(values.span, sendCounts: sendCounts, into: &span, receiveCounts: [1, 1, 1])
        }
    }

    /// Runs `body` on three ranks, all of which must throw the same mismatch, and then go on.
    private func expectMismatch(
        _ text: String, _ body: @escaping @Sendable (ThreadCommunicator) throws -> Void
    ) throws {
        let errors = try ThreadCommunicator.run(worldSize: 3) { group -> String in
            var text = "nothing was thrown"
            do {
                try body(group)
            } catch CommunicatorError.mismatch(let call, let reason) {
                text = "\(call): \(reason)"
            }
            try group.barrier()
            return text
        }
        #expect(Set(errors).count == 1)
        #expect(errors[0].contains(text), "\(errors[0])")
    }

    @Test func sumsAreFormedInRankOrder() throws {
        // In this order the 3 is lost and the 1 is not; in the reverse order it is the other way round.
        let values: [Float] = [3, 1e8, -1e8, 1]
        let sums = try ThreadCommunicator.run(worldSize: 4) { group -> [Float] in
            var own = [Float](repeating: values[group.rank], count: 5)
            var span = own.mutableSpan
            try group.allReduce(&span, .sum)
            return own
        }
        #expect(sums == [[Float]](repeating: [Float](repeating: 1, count: 5), count: 4))
    }
}
