import Foundation
import MPIMessagePassing

// Measures how fast checkpoints are written, beside one large file on the same disk; rank 0 prints a table.
//
//     mpirun -n 2 checkpoint-benchmark DIRECTORY [MEGABYTES] [ROUNDS]

/// A line at once, also into a pipe.
func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    return sorted.isEmpty ? .nan : (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
}

func range(_ values: [Double]) -> String {
    String(format: "%.0f (%.0f to %.0f)", median(values), values.min() ?? .nan, values.max() ?? .nan)
}

do {
    let world = try MPICommunicator.initialize()
    do {
        let arguments = CommandLine.arguments.dropFirst()
        let numbers = arguments.dropFirst().map { Int($0) ?? 0 }
        guard let directory = arguments.first, numbers.count <= 2, numbers.allSatisfy({ $0 > 0 }) else {
            throw CheckpointCase.BenchmarkError(
                description: "usage: checkpoint-benchmark DIRECTORY [MEGABYTES] [ROUNDS]")
        }
        let rounds = numbers.count > 1 ? numbers[1] : 7
        let benchmark = try CheckpointCase(
            directory: directory, megabytes: numbers.first ?? 1000, communicator: world)
        // The first one finds no memory and no directory as the others do.
        let bytes = try benchmark.writeCheckpoint(step: 1).bytes
        var (checkpoints, files, ratios) = ([Double](), [Double](), [Double]())
        for round in 0..<rounds {
            let file = Double(bytes) / 1e6 / (try benchmark.writeFile(bytes: bytes))
            let checkpoint = Double(bytes) / 1e6 / (try benchmark.writeCheckpoint(step: 2 + round).seconds)
            files.append(file)
            checkpoints.append(checkpoint)
            ratios.append(checkpoint / file)
        }
        try benchmark.cleanUp()
        if world.rank == 0 {
            say("| ranks | bytes | one file, MB/s | checkpoint, MB/s | ratio |\n|---|---|---|---|---|")
            say(
                "| \(world.size) | \(bytes) | \(range(files)) | \(range(checkpoints)) | "
                    + String(format: "%.2f", median(ratios)) + " |")
        }
    } catch {
        FileHandle.standardError.write(Data("checkpoint-benchmark: rank \(world.rank): \(error)\n".utf8))
        world.abort(code: 1)
    }
    try world.finalize()
} catch {
    FileHandle.standardError.write(Data("checkpoint-benchmark: \(error)\n".utf8))
    exit(1)
}
