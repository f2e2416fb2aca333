import ExpertParallelism
import ExpertPlacement
import Foundation
import MPIMessagePassing
import Tensors

// Measures a layer of experts and attention beside their matrix products alone, the products of a whole training step, and dispatch and
// combine beside MPI_Alltoallv; rank 0 prints a line of JSON. bench.py runs it.
//
//     mpirun -n 2 layer-benchmark HIDDEN INTERMEDIATE LAYERS HEADS KEY-VALUE-HEADS EXPERTS TOP VOCABULARY SEQUENCES LENGTH [ROUNDS]

struct BenchmarkError: Error, CustomStringConvertible { let description: String }

struct Figures: Encodable {
    /// Seconds; of a step: all products of it by OpenBLAS; of a layer and of attention between its projections: forward and backward.
    var stepProducts, layerProducts, layer, exchange, alltoallv, alltoallvBetweenProducts: Double
    var attentionProducts, attention: Double
    var stepOperations: Double
}

do {
    let world = try MPICommunicator.initialize()
    do {
        let numbers = CommandLine.arguments.dropFirst().compactMap { Int($0) }
        guard numbers.count >= 10, numbers.count <= 11, numbers.allSatisfy({ $0 > 0 }) else {
            throw BenchmarkError(description: "usage: layer-benchmark and ten or eleven numbers, as main.swift says")
        }
        let shape = StepShape(
            hidden: numbers[0], intermediate: numbers[1], layers: numbers[2], heads: numbers[3],
            keyValueHeads: numbers[4], experts: numbers[5], expertsPerToken: numbers[6], vocabulary: numbers[7],
            sequences: numbers[8], length: numbers[9])
        guard shape.sequences % world.size == 0, shape.hidden % shape.heads == 0, shape.heads % shape.keyValueHeads == 0
        else {
            throw BenchmarkError(
                description: "ranks must divide sequences, heads the hidden size, and key-value heads heads")
        }
        let rounds = numbers.count > 10 ? numbers[10] : 9
        let all = StepProducts.all(shape, worldSize: world.size)
        let experts =
            StepProducts.experts(shape, worldSize: world.size) + StepProducts.router(shape, worldSize: world.size)
        let attention = StepProducts.attention(shape, worldSize: world.size)
        let layer = try LayerCase(shape, allocator: StaticAllocator(.tensorParallel), world: world)
        let whole = try LayerCase(shape, allocator: StaticAllocator(.expertParallel), world: world)
        // By turns, so that a machine that slows down slows down all of them.
        var figures = [[Double]](repeating: [], count: 8)
        for _ in 0..<3 {
            figures[0].append(try StepProducts.seconds(all, rounds: 3, world: world))
            figures[1].append(try StepProducts.seconds(experts, rounds: 3, world: world))
            figures[2].append(try layer.measure(rounds: rounds).seconds)
            figures[3].append(try whole.measure(rounds: rounds).exchangeSeconds)
            figures[4].append(try LayerCase.plainExchange(shape, rounds: rounds, world: world))
            figures[5].append(try StepProducts.seconds(attention, rounds: 3, world: world))
            figures[6].append(try AttentionCase.seconds(shape, rounds: rounds, world: world))
            figures[7].append(
                try LayerCase.plainExchange(shape, between: experts, rounds: rounds, world: world))
        }
        if world.rank == 0 {
            let result = Figures(
                stepProducts: median(figures[0]), layerProducts: median(figures[1]), layer: median(figures[2]),
                exchange: median(figures[3]), alltoallv: median(figures[4]),
                alltoallvBetweenProducts: median(figures[7]), attentionProducts: median(figures[5]),
                attention: median(figures[6]),
                stepOperations: all.reduce(0) { $0 + $1.operations })
            let encoder = JSONEncoder()
            encoder.keyEncodingStrategy = .convertToSnakeCase
            FileHandle.standardOutput.write(try encoder.encode(result) + Data("\n".utf8))
        }
    } catch {
        FileHandle.standardError.write(Data("layer-benchmark: rank \(world.rank): \(error)\n".utf8))
        world.abort(code: 1)
    }
    try world.finalize()
} catch {
    FileHandle.standardError.write(Data("layer-benchmark: \(error)\n".utf8))
    exit(1)
}
