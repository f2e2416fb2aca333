import Foundation
import MPIMessagePassing

// Measures migrations of experts beside `MPI_Alltoallv` of the same bytes; rank 0 prints a table.
//
//     mpirun -n 2 migration-benchmark [ROUNDS] [CHUNK-BYTES]

/// A line at once, also into a pipe.
func write(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

do {
    let world = try MPICommunicator.initialize()
    do {
        let numbers = CommandLine.arguments.dropFirst().map { Int($0) ?? 0 }
        guard numbers.count <= 2, numbers.allSatisfy({ $0 > 0 }) else {
            throw BenchmarkError(description: "usage: migration-benchmark [ROUNDS] [CHUNK-BYTES]")
        }
        let size = MigrationCase.Size(
            rounds: numbers.first ?? 7, chunkBytes: numbers.count > 1 ? numbers[1] : nil)
        if world.rank == 0 { write(MigrationFigures.header) }
        for name in MigrationCase.names {
            let figures = try MigrationCase(name, size, world).measure()
            if world.rank == 0 { write(figures.row) }
        }
    } catch {
        FileHandle.standardError.write(Data("migration-benchmark: rank \(world.rank): \(error)\n".utf8))
        world.abort(code: 1)
    }
    try world.finalize()
} catch {
    FileHandle.standardError.write(Data("migration-benchmark: \(error)\n".utf8))
    exit(1)
}
