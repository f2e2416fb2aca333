import Tensors

extension Router {
    /// Adds to the weight's gradient.
    ///
    /// Of a token, with scores s of logits z and probabilities p (s, or sigmoids over their sum):
    /// - A weight w = α·s, or α·s / Σ s over the chosen experts, in which s of all others cancels. Through softmax, renormalised:
    ///   dL/dz = w ⊙ (dL/dw − Σ w·dL/dw / α) for the chosen ones; else w ⊙ dL/dw for the chosen ones, less s · Σ w·dL/dw for all.
    ///   Through sigmoids: the first, or w ⊙ dL/dw, each times 1 − s.
    /// - A gradient g of the probabilities adds p ⊙ (g − Σ p·g) for all, through sigmoids times 1 − s.
    /// - The z-loss adds 2 · scale · logΣe^z · softmax(z).
    /// - Parameters:
    ///   - weightGradient: dL/dw of each routing row, N entries.
    ///   - probabilityGradient: g, the same for all tokens, E entries; nil: none.
    ///   - scales: of the router's own losses.
    ///   - inputGradient: has dL/dx added, (T, D).
    public func backward(
        weightGradient: [Float], probabilityGradient: [Float]?, scales: RouterLossScales = RouterLossScales(),
        addingTo inputGradient: Tensor
    ) {
        guard let saved else { preconditionFailure("backward without a forward pass that saved for it") }
        self.saved = nil
        let weightGradient = saved.kept.map { Self.spread(weightGradient, over: $0) } ?? weightGradient
        precondition(weightGradient.count == saved.routing.count, "one gradient for each routing row")
        precondition(probabilityGradient.map { $0.count == expertCount } ?? true, "one gradient for each expert")
        let probabilities = ProbabilityGradient(
            probabilityGradient, sequenceScale: scales.sequenceLoss, saved)
        let logitGradient =
            switch policy.score {
            case .softmax: softmaxGradient(saved, weightGradient, probabilities, zScale: scales.zLoss)
            case .sigmoid: sigmoidGradient(saved, weightGradient, probabilities, zScale: scales.zLoss)
            }
        let outputGradient = gate.factor(logitGradient)
        gate.addWeightGradient(outputGradient, input: saved.input)
        guard let noise = saved.noise else {
            return GEMM.multiply(outputGradient, saved.weight, into: inputGradient, beta: 1)
        }
        let noisyGradient = Tensor(rows: inputGradient.rows, columns: inputGradient.columns)
        GEMM.multiply(outputGradient, saved.weight, into: noisyGradient)
        let factors = noise.span
        var entries = noisyGradient.mutableSpan
        for index in entries.indices { entries[index] *= factors[index] }
        Rows.add(noisyGradient, into: inputGradient)
    }

    /// A row that was dropped has none.
    private static func spread(_ gradient: [Float], over kept: [Bool]) -> [Float] {
        var next = gradient.makeIterator()
        return kept.map { $0 ? next.next() ?? 0 : 0 }
    }

    private func softmaxGradient(
        _ saved: Saved, _ weightGradient: [Float], _ probabilities: ProbabilityGradient?, zScale: Float
    ) -> Tensor {
        // The probabilities are needed no more: their memory takes dL/dz.
        let target = saved.scores
        let zScale = saved.logSumExp == nil ? 0 : zScale
        if probabilities != nil || zScale != 0 || !policy.renormalizes {
            scale(target, probabilities, shifts(saved, weightGradient, zScale: zScale))
        } else {
            target.fill(0)
        }
        addWeightPart(weightGradient, saved.routing, to: target)
        return target
    }

    /// What gradients of a token's scores have in common; empty: nothing.
    private func shifts(_ saved: Saved, _ weightGradient: [Float], zScale: Float) -> [Float] {
        if zScale == 0 && policy.renormalizes { return [] }
        var shifts = saved.logSumExp?.values.map { 2 * zScale * $0 } ?? []
        if policy.renormalizes { return shifts }
        let routing = saved.routing
        if shifts.isEmpty { shifts = [Float](repeating: 0, count: routing.tokenCount) }
        for row in 0..<routing.count {
            shifts[Int(routing.tokens[row])] -= routing.weights[row] * weightGradient[row]
        }
        return shifts
    }

    /// p becomes p ⊙ (g − Σ p·g + shift), row by row.
    private func scale(_ p: Tensor, _ gradient: ProbabilityGradient?, _ shifts: [Float]) {
        let columns = expertCount
        var values = p.mutableSpan
        for token in 0..<p.rows {
            let start = token * columns
            let shift = shifts.isEmpty ? 0 : shifts[token]
            guard let gradient else {
                for column in 0..<columns { values[start + column] *= shift }
                continue
            }
            let g = gradient.values.span
            let first = gradient.firstIndex(token: token)
            var mean: Float = 0
            for column in 0..<columns { mean += values[start + column] * g[first + column] }
            for column in 0..<columns { values[start + column] *= g[first + column] + (shift - mean) }
        }
    }

    private func sigmoidGradient(
        _ saved: Saved, _ weightGradient: [Float], _ probabilities: ProbabilityGradient?, zScale: Float
    ) -> Tensor {
        let columns = expertCount
        let result = Tensor(rows: saved.scores.rows, columns: columns, repeating: 0)
        addWeightPart(weightGradient, saved.routing, to: result)
        let s = saved.scores.span
        var target = result.mutableSpan
        for token in 0..<saved.routing.tokenCount {
            let start = token * columns
            if let probabilities {
                let g = probabilities.values.span
                let first = probabilities.firstIndex(token: token)
                let sum = Self.sum(s, from: start, count: columns)
                var mean: Float = 0
                for column in 0..<columns { mean += s[start + column] / sum * g[first + column] }
                for column in 0..<columns {
                    target[start + column] += s[start + column] / sum * (g[first + column] - mean)
                }
            }
            for column in 0..<columns { target[start + column] *= 1 - s[start + column] }
        }
        if let logSumExp = saved.logSumExp, zScale != 0 {
            let p = logSumExp.probabilities.span
            for index in target.indices { target[index] += 2 * zScale * logSumExp.values[index / columns] * p[index] }
        }
        return result
    }

    /// Adds what comes from the weights of the chosen experts, but for what it takes from all.
    private func addWeightPart(_ weightGradient: [Float], _ routing: Routing, to logitGradient: Tensor) {
        let columns = logitGradient.columns
        let scale = Float(policy.scalingFactor)
        let renormalizes = policy.renormalizes
        var target = logitGradient.mutableSpan
        let (gradient, weights, experts) = (weightGradient.span, routing.weights.span, routing.experts.span)
        let tokens = routing.tokens.span
        var end = 0
        while end < tokens.count {
            let start = end
            let token = Int(tokens[start])
            var mean: Float = 0
            while end < tokens.count, Int(tokens[end]) == token {
                mean += weights[end] * gradient[end]
                end += 1
            }
            mean = renormalizes ? mean / scale : 0
            for row in start..<end {
                target[token * columns + Int(experts[row])] += weights[row] * (gradient[row] - mean)
            }
        }
    }

    /// Of sigmoids, which may all be 0.
    static func sum(_ scores: Span<Float>, from start: Int, count: Int) -> Float {
        var sum: Float = 1e-20
        for column in 0..<count { sum += scores[start + column] }
        return sum
    }
}

/// dL/dp of each expert's probability: E entries for all tokens, or E for each sequence.
private struct ProbabilityGradient {
    let values: [Float]
    /// Nil: they are the same for all tokens.
    private let balance: SequenceBalance?
    private let expertCount: Int

    init?(_ ofAll: [Float]?, sequenceScale: Float, _ saved: Router.Saved) {
        let expertCount = saved.routing.expertCount
        self.expertCount = expertCount
        guard sequenceScale != 0, let balance = saved.balance else {
            guard let ofAll else { return nil }
            values = ofAll
            self.balance = nil
            return
        }
        let scale = Double(sequenceScale) / Double(balance.length)
        values = balance.fractions.enumerated().map { Float(scale * $1) + (ofAll?[$0 % expertCount] ?? 0) }
        self.balance = balance
    }

    /// Where the entries for a token begin.
    func firstIndex(token: Int) -> Int { balance.map { $0.sequence(ofToken: token) * expertCount } ?? 0 }
}
