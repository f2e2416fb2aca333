import Randomness
import Tensors

/// Chooses the experts of each token and weighs them, by scores of the logits x·Wᵀ, in fp32, as its `RoutingPolicy` says. By default
/// softmax over all experts, the k most probable ones, and as weights their probabilities divided by the sum of the k (Jiang et al.
/// 2024, arXiv:2401.04088; `MixtralTopKRouter` in Hugging Face transformers). Which experts are chosen has no gradient; the weights have.
public final class Router: Module {
    /// W, [E, D].
    let gate: Linear
    public let policy: RoutingPolicy
    /// b, [E]: enters selection only, and is changed by `updateSelectionBias` alone. Nil: the policy has none.
    public let selectionBias: Parameter?
    /// What an expert takes in passes that save for backward; nil: all.
    public var capacity: ExpertCapacity?
    /// For benchmarks only: choice k of token t is expert t·K + k mod E in place of a probable one, so that all experts get
    /// as many tokens. Weights and gradients are those that the router has for these experts.
    public var assignsEvenly = false
    /// The ranks that have the other tokens of the sequences; nil: this one has all.
    public var sequenceGroup: (any SequenceGroup)?

    /// What losses of the router need of one pass, over this rank's tokens.
    public struct Statistics: Sendable {
        /// Tokens that chose each expert, E entries; before any are dropped.
        public let expertLoads: [Int]
        /// Sum over tokens of each expert's probability, E entries. Sigmoid scores count divided by their sum.
        public let probabilitySums: [Double]
        /// Those of the tokens that found no place, E entries; empty without a capacity.
        public var droppedLoads = [Int]()
        /// Sum over tokens of the squared log-sum-exp of the logits; 0 when the policy has no z-loss.
        public var zLossSum = 0.0
        /// Sum over sequences of what these tokens have of their balance losses; 0 when the policy balances the batch.
        public var sequenceLossSum = 0.0
    }
    /// Of the last forward pass that saved for backward.
    public private(set) var statistics: Statistics?

    struct Saved {
        let input: MatrixFactor
        let weight: MatrixFactor
        /// s, (T, E).
        let scores: Tensor
        /// All that was chosen, and which rows of it were not dropped; nil: all.
        let routing: Routing
        let kept: [Bool]?
        /// For balance by sequence.
        let balance: SequenceBalance?
        /// For the z-loss.
        var logSumExp: LogSumExp?
        /// What the input was multiplied with.
        var noise: Tensor?
    }
    var saved: Saved?

    /// - Parameter policy: one that has no `problem` with so many experts.
    public init(hiddenSize: Int, expertCount: Int, policy: RoutingPolicy) {
        if let problem = policy.problem(experts: expertCount) {
            preconditionFailure("\(problem.field) is \(problem.found); it must be \(problem.expected)")
        }
        gate = Linear(inputSize: hiddenSize, outputSize: expertCount, precision: .float32)
        self.policy = policy
        selectionBias = policy.biasUpdateRate == nil ? nil : Parameter(shape: [expertCount])
    }

    /// As Mixtral's.
    /// - Parameter expertsPerToken: K, 1 ... `expertCount`.
    public convenience init(hiddenSize: Int, expertCount: Int, expertsPerToken: Int) {
        self.init(
            hiddenSize: hiddenSize, expertCount: expertCount, policy: RoutingPolicy(expertsPerToken: expertsPerToken))
    }

    public var expertCount: Int { gate.outputSize }
    public var expertsPerToken: Int { policy.expertsPerToken }
    public var weight: Parameter { gate.weight }
    public var parameters: [(name: String, parameter: Parameter)] { gate.parameters }
    public var buffers: [(name: String, parameter: Parameter)] {
        selectionBias.map { [("e_score_correction_bias", $0)] } ?? []
    }

    /// - Parameters:
    ///   - x: (T, D); kept by reference until `backward`, so it must not change.
    ///   - sequenceLength: L, for balance by sequence; nil: the tokens are one sequence.
    ///   - tokens: of all sequences, on other ranks as well, a multiple of L; nil: T.
    ///   - group: the ranks that route their tokens together; nil: there is but this process.
    /// - Returns: rows for each token: of token choice K, the one with the largest s + b first, of equal ones that of the lower index;
    ///   of expert choice any number, experts ascending. Dropped rows are left out.
    public func forward(
        _ x: Tensor, sequenceLength: Int? = nil, tokens: Int? = nil, among group: (any TokenGroup)? = nil,
        savingForBackward: Bool
    ) throws -> Routing {
        let noise = savingForBackward && policy.jitter > 0 ? noise(x, group ?? SingleProcess()) : nil
        let (input, weight) = (gate.factor(noise?.product ?? x), gate.factor(gate.weight.value))
        let scores = Tensor(rows: x.rows, columns: expertCount)
        GEMM.multiply(input, weight, transposeB: true, into: scores)
        let logSumExp = savingForBackward && policy.zLossCoefficient > 0 ? LogSumExp(of: scores) : nil
        switch policy.score {
        case .softmax: Softmax.forward(scores, into: scores)
        case .sigmoid: Sigmoid.forward(scores, into: scores)
        }
        let all = try route(scores, among: group)
        guard savingForBackward else {
            (saved, statistics) = (nil, nil)
            return all
        }
        let balance =
            try policy.balancesSequences
            ? balance(all, sequenceLength: sequenceLength, tokens: tokens ?? x.rows) : nil
        var statistics = Statistics(expertLoads: all.expertLoads, probabilitySums: probabilitySums(scores))
        if let logSumExp { statistics.zLossSum = logSumExp.sumOfSquares }
        if let balance { statistics.sequenceLossSum = sequenceLossSum(scores, balance) }
        let (routing, kept) = try drop(all, among: group, adding: &statistics)
        self.statistics = statistics
        saved = Saved(
            input: input, weight: weight, scores: scores, routing: all, kept: kept, balance: balance,
            logSumExp: logSumExp, noise: noise?.factors)
        return routing
    }

    private func balance(_ all: Routing, sequenceLength: Int?, tokens: Int) throws -> SequenceBalance {
        let length = sequenceLength ?? tokens
        guard tokens.isMultiple(of: length) else {
            throw RouterError.partialSequences(tokens: tokens, sequenceLength: length)
        }
        return try SequenceBalance(
            all, tokens: tokens, sequenceLength: length, policy: policy, group: sequenceGroup)
    }

    /// Lets go of what `backward` would need, but not of `statistics`.
    func discardSaved() { saved = nil }

    /// Changes b after a step (Wang et al. 2024, arXiv:2408.15664): experts with fewer tokens than the mean become likelier, those with
    /// more less likely.
    /// - Parameter loads: tokens that chose each expert in the step, over all ranks.
    public func updateSelectionBias(loads: [Int]) {
        guard let rate = policy.biasUpdateRate, let selectionBias else { return }
        precondition(loads.count == expertCount, "one load for each expert")
        let total = loads.reduce(0, +)
        var bias = selectionBias.value.mutableSpan
        for (expert, load) in loads.enumerated() {
            // Whole numbers: the sign is the same on all ranks.
            bias[expert] += Float(rate) * Float((total - load * expertCount).signum())
        }
    }

    /// Keeps what the experts have places for, in training.
    private func drop(
        _ all: Routing, among group: (any TokenGroup)?, adding statistics: inout Statistics
    ) throws -> (routing: Routing, kept: [Bool]?) {
        guard let capacity, policy.selection == .tokenChoice else { return (all, nil) }
        let places = ExpertPlaces(group: group ?? SingleProcess(), expertCount: expertCount)
        let (rows, kept) = try places.assign(
            experts: all.experts, keys: capacity.dropPolicy == .score ? all.weights.map(ExpertPlaces.key) : nil,
            tokens: all.tokenCount
        ) { [expertsPerToken, expertCount] in
            ExpertCapacity.rows(
                factor: capacity.factor, tokens: $0, expertsPerToken: expertsPerToken, experts: expertCount)
        }
        statistics.droppedLoads = [Int](repeating: 0, count: expertCount)
        var routing = all
        if let kept {
            for (expert, isKept) in zip(all.experts, kept) where !isKept {
                statistics.droppedLoads[Int(expert)] += 1
            }
            routing = all.filtered(by: kept)
        }
        routing.paddedRows = capacity.pads ? rows : 0
        return (routing, kept)
    }

    /// Random factors, the same for a token whatever rank has it, and x times them.
    private func noise(_ x: Tensor, _ group: any TokenGroup) -> (factors: Tensor, product: Tensor) {
        let (factors, product) = (
            Tensor(rows: x.rows, columns: x.columns), Tensor(rows: x.rows, columns: x.columns)
        )
        let generator = CounterBasedGenerator(
            seed: group.seed, purpose: "router jitter", keys: [group.step, group.layer])
        let first = UInt64(group.firstToken * x.columns)
        let values = x.span
        var factorSpan = factors.mutableSpan
        var productSpan = product.mutableSpan
        for index in values.indices {
            let uniform = generator.uniform(at: first + UInt64(index))
            factorSpan[index] = Float(1 + policy.jitter * (2 * uniform - 1))
            productSpan[index] = values[index] * factorSpan[index]
        }
        return (factors, product)
    }
}
