// Trains a model that is not Mixtral, its experts spread over ranks, and moves them while it trains.
//
// Ranks are threads here, so nothing but this program is needed. Over MPI each process hands an MPICommunicator to
// `train` instead.

import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing
import Tensors

let steps = 60
let batchSize = 96

/// Trains on this rank. All ranks call it together.
/// - Returns: the mean loss of each step over all ranks.
func train(on communicator: any Communicator) throws -> [Double] {
    let model = Successor()
    let context = ExpertParallelContext(communicator: communicator)
    try parallelizeExperts(
        in: model, matching: #"block\.experts"#, allocator: StaticAllocator(.expertParallel),
        dispatcher: RandomDispatcher(seed: 1),
        configuration: ParallelConfiguration(
            layers: 1, expertsPerLayer: .uniform(Successor.expertCount), context: context))
    try model.loadWeights(from: SeededWeights(seed: 1))
    let optimizer = MoEOptimizer(model: model, context: context)

    // This rank's part of each batch.
    let own = evenPart(communicator.rank, of: communicator.size, in: 0..<batchSize)
    context.firstToken = own.lowerBound
    return try (0..<steps).map { step in
        if step == steps / 2 { try share(model, optimizer, communicator) }
        context.step = step
        optimizer.zeroGradients()
        let tokens = own.map { Int32((step * batchSize + $0) * 31 % Successor.vocabularySize) }
        let targets = tokens.map { ($0 * 5 + 7) % Int32(Successor.vocabularySize) }
        // The gradient is that of the mean over all ranks' tokens.
        var loss = [try model.addGradients(tokens: tokens, targets: targets, scale: 1 / Float(batchSize))]
        let norm = try optimizer.reduceGradients()
        try optimizer.step(
            AdamW.Configuration(learningRate: 1e-2), gradientScale: MoEOptimizer.clippingScale(norm: norm, limit: 1))
        var sum = loss.mutableSpan
        try communicator.allReduce(&sum, .sum)
        return loss[0] / Double(batchSize)
    }
}

/// Cuts every expert into shards, one on each rank: weights and optimizer state move between two steps.
func share(_ model: Successor, _ optimizer: MoEOptimizer, _ communicator: any Communicator) throws {
    let widths = optimizer.placements.map { $0.experts.map(\.width) }
    guard
        var plan = try StaticAllocator(.tensorParallel).allocateExperts(
            current: nil, model: ExpertModel(hiddenSize: 32, layers: widths),
            cluster: Cluster(worldSize: communicator.size), step: steps / 2)
    else { return }
    plan.revision = 2
    let report = try optimizer.apply(plan)
    if communicator.rank == 0, communicator.size > 1 {
        print("moved \(report.totalBytes) bytes before step \(steps / 2)")
    }
}

let alone = try train(on: ThreadCommunicator())
let losses = try ThreadCommunicator.run(worldSize: 4) { try train(on: $0) }[0]
for step in stride(from: 0, to: steps, by: 10) + [steps - 1] {
    print("step \(step): loss \(Float(losses[step])), of one process \(Float(alone[step]))")
}
let difference = zip(losses, alone).map { abs($0 - $1) }.max() ?? 0
print(difference < 1e-4 ? "the losses are those of one process" : "the losses differ by \(difference)")
