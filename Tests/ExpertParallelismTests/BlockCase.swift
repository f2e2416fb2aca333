import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing
import Mixtral
import PlacementInvariance
import Randomness
import Tensors

/// One sparse block whose experts have different widths, with inputs and output gradients by token.
struct BlockCase {
    var hiddenSize = 8
    var widths = [3, 7, 1, 5]
    var expertsPerToken = 2
    /// Tokens of all ranks.
    var tokens = 23
    var seed: UInt64 = 5
    /// Rows travel in chunks.
    var overlap: Overlap = .dispatch

    /// Rank by rank, what a forward and a backward pass gave.
    struct Outcome: Sendable {
        /// y and dL/dx of the rank's tokens.
        var outputs = [Float]()
        var inputGradients = [Float]()
        /// Of the rank's tokens without gradients.
        var inference = [Float]()
        var gradientNorm = 0.0
        /// Summed; experts' on rank 0 only.
        var gradients = [String: [Float]]()
        var bytesSent = 0
        /// What a `CountingCommunicator` saw of it.
        var communicatorBytes = 0
    }

    var model: ExpertModel { ExpertModel(hiddenSize: hiddenSize, layers: [widths]) }

    func block() -> SparseMoEBlock {
        SparseMoEBlock(
            gate: Router(hiddenSize: hiddenSize, expertCount: widths.count, expertsPerToken: expertsPerToken),
            experts: LocalExperts(hiddenSize: hiddenSize, widths: widths))
    }

    var weights: RandomWeights { RandomWeights(seed: seed, standardDeviation: 0.6) }

    /// - Parameter plan: nil: the experts stay in the block.
    func run(
        on communicator: any Communicator, plan: PlacementPlan?, dispatcher: any TokenDispatcher
    ) throws -> Outcome {
        let context = ExpertParallelContext(communicator: communicator, overlap: overlap)
        let block = block()
        if let plan {
            try parallelizeExperts(
                in: block, matching: "experts", allocator: StaticAllocator(.replicated), dispatcher: dispatcher,
                configuration: ParallelConfiguration(
                    layers: 1, expertsPerLayer: .perLayer([widths.count]), context: context, plan: plan))
        }
        try block.loadWeights(from: weights)
        let optimizer = MoEOptimizer(model: block, context: context)
        optimizer.zeroGradients()
        let own = evenPart(communicator.rank, of: communicator.size, in: 0..<tokens)
        context.firstToken = own.lowerBound
        let x = rows(own, purpose: "x")
        var outcome = Outcome()
        outcome.inference = try block.forward(x, savingForBackward: false).array
        outcome.outputs = try block.forward(x, savingForBackward: true).array
        outcome.inputGradients = try block.backward(rows(own, purpose: "dy"), probabilityGradient: nil).array
        outcome.gradientNorm = try optimizer.reduceGradients()
        try optimizer.step(AdamW.Configuration(learningRate: 1e-3))
        outcome.bytesSent = context.takeBytesSent()
        outcome.communicatorBytes = (communicator as? CountingCommunicator)?.bytesSent ?? 0
        let sink = MemorySink()
        try optimizer.storeGradients(to: sink)
        outcome.gradients = sink.tensors
        return outcome
    }

    func rows(_ tokens: Range<Int>, purpose: String) -> Tensor {
        let generator = CounterBasedGenerator(seed: seed, purpose: purpose)
        let first = tokens.lowerBound * hiddenSize
        return Tensor(
            (0..<tokens.count * hiddenSize).map { Float(generator.normal(at: UInt64(first + $0))) },
            rows: tokens.count, columns: hiddenSize)
    }
}

/// The largest difference, relative to the largest entry of `expected`.
func relativeDifference(_ found: [Float], _ expected: [Float]) -> Double {
    // A number that is none must not pass: comparisons with it are false.
    guard found.count == expected.count, (found + expected).allSatisfy(\.isFinite) else { return .infinity }
    let largest = expected.map { abs($0) }.max() ?? 0
    let difference = zip(found, expected).map { abs($0 - $1) }.max() ?? 0
    return difference == 0 ? 0 : Double(difference / largest)
}
