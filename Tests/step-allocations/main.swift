import Foundation
import MPIMessagePassing
import Tensors

// Trains on the ranks of an MPI job and tells, a line of JSON a rank, what steps take from the system.
//
//     mpirun -n 2 step-allocations HIDDEN-SIZE SEQUENCES LIBRARY

do {
    let world = try MPICommunicator.initialize()
    do {
        let arguments = CommandLine.arguments.dropFirst()
        let extents = arguments.compactMap { Int($0) }
        guard extents.count == 2, let library = arguments.last.flatMap(MatrixLibrary.init) else { throw UsageError() }
        MatrixLibrary.configure(library)
        let steps = try CountedSteps(hiddenSize: extents[0], sequences: extents[1], communicator: world)
        let line = try JSONEncoder().encode(try steps.run()) + Data("\n".utf8)
        // One after the other, so that lines stay whole.
        for rank in 0..<world.size {
            if rank == world.rank { FileHandle.standardOutput.write(line) }
            try world.barrier()
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

struct UsageError: Error, CustomStringConvertible {
    var description: String { "usage: step-allocations HIDDEN-SIZE SEQUENCES auto|openblas" }
}
