import Tensors

/// Chooses the experts of each token: softmax over all experts' logits x·Wᵀ in fp32, the k most probable experts, and as
/// weights their probabilities divided by the sum of the k (Jiang et al. 2024, arXiv:2401.04088; `MixtralTopKRouter` in
/// Hugging Face transformers). Which experts are chosen has no gradient; the weights have.
public final class Router: Module {
    /// W, [E, D].
    private let gate: Linear
    public let expertsPerToken: Int
    /// For benchmarks only: choice k of token t is expert t·K + k mod E in place of a probable one, so that all experts get
    /// as many tokens. Weights and gradients are those that the router has for these experts.
    public var assignsEvenly = false

    /// What the auxiliary loss needs of one pass, over this rank's tokens.
    public struct Statistics: Sendable {
        /// Tokens that chose each expert, E entries.
        public let expertLoads: [Int]
        /// Sum over tokens of each expert's probability, E entries.
        public let probabilitySums: [Double]
    }
    /// Of the last forward pass that saved for backward.
    public private(set) var statistics: Statistics?

    private struct Saved {
        let input: MatrixFactor
        let weight: MatrixFactor
        let probabilities: Tensor
        let routing: Routing
    }
    private var saved: Saved?

    /// - Parameter expertsPerToken: K, 1 ... `expertCount`.
    public init(hiddenSize: Int, expertCount: Int, expertsPerToken: Int) {
        precondition(expertsPerToken >= 1 && expertsPerToken <= expertCount, "no \(expertsPerToken) of \(expertCount)")
        gate = Linear(inputSize: hiddenSize, outputSize: expertCount, precision: .float32)
        self.expertsPerToken = expertsPerToken
    }

    public var expertCount: Int { gate.outputSize }
    public var weight: Parameter { gate.weight }
    public var parameters: [(name: String, parameter: Parameter)] { gate.parameters }

    /// - Parameter x: (T, D); kept by reference until `backward`, so it must not change.
    /// - Returns: K rows for each token, the most probable expert first; of equally probable ones the lower index.
    public func forward(_ x: Tensor, savingForBackward: Bool) -> Routing {
        let probabilities = Tensor(rows: x.rows, columns: expertCount)
        let (input, weight) = (gate.factor(x), gate.factor(gate.weight.value))
        GEMM.multiply(input, weight, transposeB: true, into: probabilities)
        Softmax.forward(probabilities, into: probabilities)
        let routing = route(probabilities)
        saved =
            savingForBackward
            ? Saved(input: input, weight: weight, probabilities: probabilities, routing: routing) : nil
        statistics =
            savingForBackward
            ? Statistics(expertLoads: routing.expertLoads, probabilitySums: columnSums(probabilities)) : nil
        return routing
    }

    /// Lets go of what `backward` would need, but not of `statistics`.
    func discardSaved() { saved = nil }

    private func route(_ probabilities: Tensor) -> Routing {
        let k = expertsPerToken
        let tokens = probabilities.rows
        var experts = [Int32](repeating: 0, count: tokens * k)
        var weights = [Float](repeating: 0, count: tokens * k)
        var rowTokens = [Int32](repeating: 0, count: tokens * k)
        var expertSpan = experts.mutableSpan
        var weightSpan = weights.mutableSpan
        if assignsEvenly {
            let values = probabilities.span
            for row in 0..<tokens * k {
                expertSpan[row] = Int32(truncatingIfNeeded: row % expertCount)
                weightSpan[row] = values[row / k * expertCount + row % expertCount]
            }
        } else {
            TopK.select(probabilities.span, columns: expertCount, k: k, indices: &expertSpan, selected: &weightSpan)
        }
        var tokenSpan = rowTokens.mutableSpan
        for token in 0..<tokens {
            let rows = token * k..<(token + 1) * k
            var sum: Float = 0
            for row in rows { sum += weightSpan[row] }
            for row in rows {
                weightSpan[row] /= sum
                tokenSpan[row] = Int32(truncatingIfNeeded: token)
            }
        }
        return Routing(
            tokenCount: tokens, expertCount: expertCount, tokens: rowTokens, experts: experts, weights: weights)
    }

    /// Sums in fp64, so that they do not depend on how many tokens a rank has.
    private func columnSums(_ matrix: Tensor) -> [Double] {
        let columns = matrix.columns
        var sums = [Double](repeating: 0, count: columns)
        let values = matrix.span
        var target = sums.mutableSpan
        for start in stride(from: 0, to: values.count, by: columns) {
            for column in 0..<columns { target[column] += Double(values[start + column]) }
        }
        return sums
    }

    /// Adds to the weight's gradient.
    ///
    /// With w = p / s over a token's k chosen experts, s the sum of their p, and p the softmax of the logits z,
    /// s cancels: dL/dz = w ⊙ (dL/dw − Σ w·dL/dw) for the chosen ones. A gradient g of the probabilities themselves adds
    /// p ⊙ (g − Σ p·g) for all.
    /// - Parameters:
    ///   - weightGradient: dL/dw of each routing row, N entries.
    ///   - probabilityGradient: g, the same for all tokens, E entries; nil: none.
    ///   - inputGradient: has dL/dx added, (T, D).
    public func backward(weightGradient: [Float], probabilityGradient: [Float]?, addingTo inputGradient: Tensor) {
        guard let saved else { preconditionFailure("backward without a forward pass that saved for it") }
        self.saved = nil
        precondition(weightGradient.count == saved.routing.count, "one gradient for each routing row")
        // The probabilities are needed no more: their memory takes dL/dz.
        let logitGradient = saved.probabilities
        if let probabilityGradient {
            precondition(probabilityGradient.count == expertCount, "one gradient for each expert")
            scaleByDeviation(logitGradient, probabilityGradient)
        } else {
            logitGradient.fill(0)
        }
        addWeightPart(weightGradient, saved.routing, to: logitGradient)
        let outputGradient = gate.factor(logitGradient)
        gate.addWeightGradient(outputGradient, input: saved.input)
        GEMM.multiply(outputGradient, saved.weight, into: inputGradient, beta: 1)
    }

    /// p becomes p ⊙ (g − Σ p·g), row by row.
    private func scaleByDeviation(_ probabilities: Tensor, _ gradient: [Float]) {
        let columns = probabilities.columns
        var values = probabilities.mutableSpan
        let gradient = gradient.span
        for start in stride(from: 0, to: values.count, by: columns) {
            var mean: Float = 0
            for column in 0..<columns { mean += values[start + column] * gradient[column] }
            for column in 0..<columns { values[start + column] *= gradient[column] - mean }
        }
    }

    private func addWeightPart(_ weightGradient: [Float], _ routing: Routing, to logitGradient: Tensor) {
        let columns = logitGradient.columns
        var target = logitGradient.mutableSpan
        let (gradient, weights, experts) = (weightGradient.span, routing.weights.span, routing.experts.span)
        for token in 0..<routing.tokenCount {
            let rows = token * expertsPerToken..<(token + 1) * expertsPerToken
            var mean: Float = 0
            for row in rows { mean += weights[row] * gradient[row] }
            for row in rows {
                target[token * columns + Int(experts[row])] += weights[row] * (gradient[row] - mean)
            }
        }
    }
}
