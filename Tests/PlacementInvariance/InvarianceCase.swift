import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing
import Mixtral
import Randomness
import Tensors

/// A small training run that must come out the same wherever its experts are.
public struct InvarianceCase: Sendable {
    public var modelType = ModelType.mixtral
    /// With experts or without.
    public var layers = 2
    public var denseLayers = Set<Int>()
    public var experts = 4
    public var expertsPerToken = 2
    /// F
    public var width = 12
    /// F of each expert, when it is not the same.
    public var widths: ExpertWidths?
    /// Of dense layers, which a Mixtral has none of.
    public var denseWidth = 9
    public var sharedExpertWidth: Int?
    public var hasAttentionBiases = false
    public var tiesEmbeddings = false
    /// Sequences of a batch, over all ranks and micro-batches.
    public var sequences = 6
    public var sequenceLength = 5
    public var microBatches = 1
    public var steps = 1
    public var auxiliaryCoefficient = 0.02
    /// But for K.
    public var routing = RoutingPolicy()
    public var capacity: ExpertCapacity?
    public var gradientClip = 1.0
    public var learningRate = 3e-3
    public var seed: UInt64 = 1
    public var ownership = OwnershipPolicy.defaultPolicy
    public var overlap = Overlap.all
    public var recomputation = Recomputation.none
    public var heads = 4
    public var keyValueHeads = 2
    /// Ranks of a tensor-parallel group.
    public var tensorParallel = 1
    /// The first step, whose tokens and replicas are its own.
    public var firstStep = 0

    public init() {}

    /// The run in one process, with all experts in the model itself.
    public func reference() throws -> TrainingRecord {
        var alone = self
        alone.tensorParallel = 1
        // Noise depends on the step, which only parallelised experts know.
        let plan = routing.jitter > 0 ? try plan(allocator: "replicated", worldSize: 1) : nil
        return try alone.run(on: ThreadCommunicator(), plan: plan, dispatcher: RandomDispatcher(seed: seed))
    }

    /// The run on the ranks of `communicator`. Collective.
    /// - Parameter plan: where the experts are; nil: they stay in the model, which one rank can do only.
    /// - Parameter weights: what the run begins with; nil: drawn from the seed.
    /// - Parameter moves: how experts move, and what is compared, between steps.
    /// - Returns: what happened; weights and gradients on rank 0 only.
    public func run(
        on communicator: any Communicator, plan: PlacementPlan?, dispatcher: any TokenDispatcher,
        weights: (any WeightSource)? = nil, moves: ExpertMoves? = nil
    ) throws -> TrainingRecord {
        let context = ExpertParallelContext(communicator: communicator, overlap: overlap, seed: seed)
        let model = MixtralModel(configuration: try configuration())
        model.recomputation = recomputation
        let mesh = DenseMesh(
            dataParallel: communicator.size / tensorParallel, tensorParallel: tensorParallel)
        try parallelizeDense(in: model, mesh: mesh, context: context)
        let recorder = RecordingDispatcher(dispatcher)
        if let plan {
            try parallelizeExperts(
                in: model, matching: #"model\.layers\.\d+\.(block_sparse_moe|mlp)\.experts"#,
                allocator: StaticAllocator(.replicated), dispatcher: recorder,
                configuration: ParallelConfiguration(
                    layers: expertLayers, expertsPerLayer: .uniform(experts), context: context, plan: plan))
        }
        try model.loadWeights(from: weights ?? RandomWeights(seed: seed, standardDeviation: 0.25))
        let routers = model.namedModules().compactMap { $0.module as? Router }
        for router in routers {
            router.capacity = capacity
            guard let bias = router.selectionBias, weights == nil else { continue }
            let generator = CounterBasedGenerator(seed: seed, purpose: "biases")
            for expert in 0..<experts { bias.value[0, expert] = Float(0.1 * generator.normal(at: UInt64(expert))) }
        }
        let optimizer = MoEOptimizer(model: model, context: context, ownership: ownership)
        var record = TrainingRecord()
        var moves = moves
        for step in firstStep..<firstStep + steps {
            try moves?.move(before: step, optimizer: optimizer, communicator: communicator, record: &record)
            let comparesStep = moves?.comparesSteps == true
            if comparesStep { try optimizer.finishRefresh() }
            let before = comparesStep ? try collected { try model.storeWeights(to: $0) } : nil
            try gradients(
                step: step, model: model, optimizer: optimizer, context: context, mesh: mesh, record: &record)
            let norm = try optimizer.reduceGradients()
            record.gradientNorms.append(norm)
            if step == firstStep || before != nil {
                let gradients = try collected { try optimizer.storeGradients(to: $0) }
                if step == firstStep { record.gradients = gradients }
                if let before, communicator.rank == 0 {
                    try compare(step: step, weights: before, gradients: gradients, record: &record)
                }
            }
            try optimizer.step(
                AdamW.Configuration(learningRate: learningRate, weightDecay: 0.1),
                gradientScale: MoEOptimizer.clippingScale(norm: norm, limit: gradientClip))
            for (layer, router) in routers.enumerated() {
                let loads = record.expertLoads.suffix(microBatches).map { $0[layer] }
                router.updateSelectionBias(
                    loads: (0..<experts).map { expert in loads.reduce(0) { $0 + $1[expert] } })
            }
        }
        try optimizer.finishRefresh()
        record.weights = try collected { try model.storeWeights(to: $0) }
        record.choices = try communicator.gathered(recorder.choices).sorted()
        for case let experts as ParallelExperts in model.namedModules().map(\.module) {
            record.rows += experts.takeWork().rows
        }
        record.bytesSent = context.takeBytesSent()
        return record
    }

    /// Compares a step's loss and gradients with those of one process that begins with the same weights.
    private func compare(
        step: Int, weights: [String: [Float]], gradients: [String: [Float]], record: inout TrainingRecord
    ) throws {
        var alone = self
        alone.tensorParallel = 1
        alone.steps = 1
        alone.firstStep = step
        let reference = try alone.run(
            on: ThreadCommunicator(), plan: nil, dispatcher: RandomDispatcher(seed: seed),
            weights: MemoryWeights(weights))
        guard Array(record.expertLoads.suffix(microBatches)) == reference.expertLoads else {
            record.flippedSteps += 1  // A router's choice hung by a rounding error: gradients may differ.
            return
        }
        var found = TrainingRecord()
        found.losses = [record.losses[record.losses.count - 1]]
        found.auxiliaryLosses = [record.auxiliaryLosses[record.auxiliaryLosses.count - 1]]
        found.gradientNorms = [record.gradientNorms[record.gradientNorms.count - 1]]
        found.droppedTokens = Array(record.droppedTokens.suffix(microBatches))
        found.gradients = gradients
        do {
            try found.checkFirstStep(against: reference, tolerance: 5e-6) {
                record.roundedGradients += 1
                return try 4 * alone.rounding(of: $0, weights: weights, reference: reference)
            }
        } catch {
            throw InvarianceFailure(description: "step \(step): \(error)")
        }
        record.comparedSteps += 1
    }

    /// The most that an entry of a gradient changes in one process when weights change by a rounding: each by one unit in the last
    /// place, up or down, or not at all. Draws in which routers choose otherwise tell nothing. Terms that cancel make that more than
    /// the sum's size tells, and no order of summation does better (Higham 2002, Accuracy and Stability of Numerical Algorithms, 1.5
    /// and 1.6).
    private func rounding(
        of gradient: String, weights: [String: [Float]], reference: TrainingRecord
    ) throws -> Double {
        var most: Float = 0
        for draw in 0..<4 {
            let generator = CounterBasedGenerator(seed: seed, purpose: "rounding", keys: [draw])
            var index: UInt64 = 0
            var rounded = [String: [Float]]()
            for (name, values) in weights.sorted(by: { $0.key < $1.key }) {
                rounded[name] = values.map { value in
                    index += 1
                    return [value.nextDown, value, value.nextUp][generator.integer(at: index, below: 3)]
                }
            }
            let other = try run(
                on: ThreadCommunicator(), plan: nil, dispatcher: RandomDispatcher(seed: seed),
                weights: MemoryWeights(rounded))
            guard other.expertLoads == reference.expertLoads else { continue }
            for (a, b) in zip(other.gradients[gradient] ?? [], reference.gradients[gradient] ?? []) {
                most = max(most, abs(a - b))
            }
        }
        return Double(most)
    }

    /// The model that a plan has to fit.
    public var expertModel: ExpertModel {
        ExpertModel(
            hiddenSize: Self.hiddenSize,
            layers: (0..<expertLayers).map { layer in
                (0..<experts).map { (widths ?? .uniform(width))[layer: layer, expert: $0] }
            })
    }

    private var expertLayers: Int { layers - denseLayers.count }

    /// The first plan of the allocator called `name`.
    public func plan(allocator name: String, worldSize: Int) throws -> PlacementPlan {
        var allocator = try Allocators.make(named: name)
        let cluster = Cluster(worldSize: worldSize)
        guard let plan = try allocator.allocateExperts(current: nil, model: expertModel, cluster: cluster, step: 0)
        else { throw ParallelizationError.noPlan }
        return plan
    }

    private static let hiddenSize = 16
    private static let vocabularySize = 29

    private func configuration() throws -> MixtralConfiguration {
        try MixtralConfiguration(
            modelType: modelType, vocabularySize: Self.vocabularySize, hiddenSize: Self.hiddenSize,
            intermediateSize: width, layers: layers, heads: heads, keyValueHeads: keyValueHeads, headDimension: 4,
            hasAttentionBiases: hasAttentionBiases, experts: experts, expertsPerToken: expertsPerToken, widths: widths,
            denseLayers: denseLayers, denseWidth: modelType == .mixtral ? nil : denseWidth,
            sharedExpertWidth: sharedExpertWidth,
            tiesEmbeddings: tiesEmbeddings, maximumPositions: 32, routing: routing)
    }

    /// Forward and backward of all micro-batches of a step.
    private func gradients(
        step: Int, model: MixtralModel, optimizer: MoEOptimizer, context: ExpertParallelContext, mesh: DenseMesh,
        record: inout TrainingRecord
    ) throws {
        optimizer.zeroGradients()
        context.step = step
        var (loss, auxiliaryLoss) = (0.0, 0.0)
        let communicator = context.communicator
        for microBatch in 0..<microBatches {
            let all = evenPart(microBatch, of: microBatches, in: 0..<sequences)
            let own = evenPart(mesh.group(of: communicator.rank), of: mesh.dataParallel, in: all)
            let part = mesh.tokens(of: communicator.rank, count: own.count * sequenceLength)
            let tokenCount = all.count * sequenceLength
            context.firstToken = own.lowerBound * sequenceLength + part.lowerBound
            let text = own.map { sequence in tokens(step: step, sequence: sequence) }
            let losses = try model.trainingForward(
                tokens: Array(text.flatMap { $0.dropLast() }[part]),
                targets: Array(text.flatMap { $0.dropFirst() }[part]),
                sequences: own.count, sequenceLength: sequenceLength,
                lossScale: 1 / Float(tokenCount * microBatches), beforeStage: optimizer.finishRefresh(stage:))
            var sums =
                [losses.lossSum] + losses.expertLoads.joined().map(Double.init) + losses.probabilitySums.joined()
                + losses.droppedLoads.joined().map(Double.init) + [losses.zLossSum, losses.sequenceLossSum]
            var span = sums.mutableSpan
            try communicator.allReduce(&span, .sum)
            let layers = expertLayers
            let loads = (0..<layers).map { layer in (0..<experts).map { Int(sums[1 + layer * experts + $0]) } }
            let probabilities = (0..<layers).map { layer in
                (0..<experts).map { sums[1 + (layers + layer) * experts + $0] }
            }
            loss += sums[0] / Double(tokenCount * microBatches)
            let balance =
                routing.balancesSequences
                ? sums[sums.count - 1] / Double(all.count)
                : AuxiliaryLoss.value(counts: loads, probabilitySums: probabilities, tokens: tokenCount)
            let zLoss = routing.zLossCoefficient * sums[sums.count - 2] / Double(tokenCount)
            auxiliaryLoss += (balance + zLoss) / Double(microBatches)
            record.expertLoads.append(loads)
            record.droppedTokens.append(
                Int(sums[1 + 2 * layers * experts..<sums.count - 2].reduce(0, +)))
            try model.backward(
                auxiliaryProbabilityGradient: routing.balancesSequences || routing.selection == .expertChoice
                    ? nil
                    : AuxiliaryLoss.gradient(
                        counts: loads, tokens: tokenCount, coefficient: auxiliaryCoefficient / Double(microBatches)),
                routerLossScales: RouterLossScales(
                    zLoss: Float(routing.zLossCoefficient / Double(tokenCount * microBatches)),
                    sequenceLoss: Float(auxiliaryCoefficient / Double(all.count * microBatches))),
                afterStage: { stage in
                    guard overlap.contains(.gradients), microBatch == microBatches - 1 else { return }
                    try optimizer.startReduction(stage: stage)
                })
        }
        record.losses.append(loss)
        record.auxiliaryLosses.append(auxiliaryLoss)
    }

    /// A sequence with the token that follows it: a noisy cycle, so that there is something to learn.
    private func tokens(step: Int, sequence: Int) -> [Int32] {
        let generator = CounterBasedGenerator(seed: seed, purpose: "tokens", keys: [step, sequence])
        var token = generator.integer(at: 0, below: Self.vocabularySize)
        return (0...sequenceLength).map { position in
            let isNoise = generator.integer(at: UInt64(2 * position + 1), below: 5) == 0
            token =
                isNoise
                ? generator.integer(at: UInt64(2 * position + 2), below: Self.vocabularySize)
                : (token * 3 + 1) % Self.vocabularySize
            return Int32(token)
        }
    }

    private func collected(_ store: (MemorySink) throws -> Void) rethrows -> [String: [Float]] {
        let sink = MemorySink()
        try store(sink)
        return sink.tensors
    }
}

extension Communicator {
    /// The ranks' values, one rank's after the other, on all ranks. Collective.
    func gathered(_ values: [Int]) throws -> [Int] {
        try allGatherBlocks(values).flatMap(\.self)
    }
}
