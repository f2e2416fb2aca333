import CommunicatorConformance
import Foundation
import MPIMessagePassing
import MessagePassing

// Runs checks on the ranks of an MPI job; the first rank that finds a fault ends the job with exit status 1.
//
//     mpirun -n 3 mpi-conformance communicator SEED [LARGEST-COUNT]
//     mpirun -n 3 mpi-conformance placement SEED
//     mpirun -n 3 mpi-conformance routing SEED
//     mpirun -n 3 mpi-conformance migration SEED
//     mpirun -n 3 mpi-conformance fault

do {
    let arguments = Array(CommandLine.arguments.dropFirst())
    let largestCount = arguments.count > 2 ? Int(arguments[2]) ?? 0 : Int(Int32.max)
    let world = try MPICommunicator.initialize(largestCount: max(largestCount, 1))
    let seed = arguments.count > 1 ? UInt64(arguments[1]) ?? 0 : 0
    do {
        switch arguments.first {
        case "communicator": try checkCommunicator(world, seed: seed)
        case "placement": try checkPlacement(world, seed: seed)
        case "routing": try checkRouting(world, seed: seed)
        case "migration": try checkMigration(world, seed: seed)
        case "fault": try failOnOneRank(world)
        default:
            throw ConformanceFailure(
                description: "usage: mpi-conformance communicator SEED [LARGEST-COUNT] | placement SEED | "
                    + "routing SEED | migration SEED | fault")
        }
    } catch {
        FileHandle.standardError.write(Data("rank \(world.rank): \(error)\n".utf8))
        world.abort(code: 1)
    }
    try world.finalize()
} catch {
    FileHandle.standardError.write(Data("\(error)\n".utf8))
    exit(1)
}
