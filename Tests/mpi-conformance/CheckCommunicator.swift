import CMPI
import CommunicatorConformance
import MPIMessagePassing
import MessagePassing

/// The suite that all communicators pass, and what MPI does beyond it.
func checkCommunicator(_ world: MPICommunicator, seed: UInt64) throws {
    for check in CommunicatorConformance.checks {
        do {
            try check.run(world, seed)
        } catch {
            throw ConformanceFailure(description: "\(check) (seed \(seed)): \(error)")
        }
        if world.rank == 0 { print("passed: \(check)") }
    }
    guard try world.nodes() == [Int](repeating: 0, count: world.size) else {
        throw ConformanceFailure(description: "the ranks share one node, but \(try world.nodes()) was found")
    }
    try errorsAreThrown(world)
    try world.barrier()
    if world.rank == 0 { print("passed: all on \(world.size) ranks") }
}

/// An error of MPI arrives as a thrown one with MPI's words.
private func errorsAreThrown(_ world: MPICommunicator) throws {
    do {
        try check(MPI_Barrier(cmpi_comm_null()), "MPI_Barrier")
    } catch CommunicatorError.library(let call, let code, let reason) {
        guard call == "MPI_Barrier", code != 0, reason.contains("communicator") else {
            throw ConformanceFailure(description: "\(call), \(code), \(reason) does not tell of a bad communicator")
        }
        return try shortMessagesAreFound(world)
    }
    throw ConformanceFailure(description: "a barrier of no group did not fail")
}

/// Fewer entries than expected are an error. (After more than expected MPI does not promise to return.)
private func shortMessagesAreFound(_ world: MPICommunicator) throws {
    guard world.size > 1, world.rank < 2 else { return }
    let isSender = world.rank == 0
    let values = [Float](repeating: 1, count: isSender ? 3 : 0)
    var received = [Float](repeating: 0, count: isSender ? 0 : 5)
    var sendCounts = [Int](repeating: 0, count: world.size)
    var receiveCounts = sendCounts
    if isSender { sendCounts[1] = 3 } else { receiveCounts[0] = 5 }
    var span = received.mutableSpan
    do {
        try world.allToAll(values.span, sendCounts: sendCounts, into: &span, receiveCounts: receiveCounts)
    } catch CommunicatorError.mismatch where !isSender {
        return
    }
    guard isSender else { throw ConformanceFailure(description: "3 entries instead of 5 were not noticed") }
}

/// The last rank fails while the others wait for it.
func failOnOneRank(_ world: MPICommunicator) throws {
    if world.rank == world.size - 1 { throw ConformanceFailure(description: "fails as it was told to") }
    try world.barrier()
}
