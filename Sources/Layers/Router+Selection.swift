import Tensors

extension Router {
    /// All rows that scores lead to, before any are dropped.
    func route(_ scores: Tensor, among group: (any TokenGroup)?) throws -> Routing {
        if policy.selection == .expertChoice && !assignsEvenly {
            return try chooseTokens(scores, among: group ?? SingleProcess())
        }
        let k = expertsPerToken
        let tokens = scores.rows
        var experts = [Int32](repeating: 0, count: tokens * k)
        var weights = [Float](repeating: 0, count: tokens * k)
        var rowTokens = [Int32](repeating: 0, count: tokens * k)
        var expertSpan = experts.mutableSpan
        var weightSpan = weights.mutableSpan
        if assignsEvenly {
            let values = scores.span
            for row in 0..<tokens * k {
                expertSpan[row] = Int32(truncatingIfNeeded: row % expertCount)
                weightSpan[row] = values[row / k * expertCount + row % expertCount]
            }
        } else if let choosable = choosable(scores) {
            TopK.select(choosable.span, columns: expertCount, k: k, indices: &expertSpan, selected: &weightSpan)
            let values = scores.span
            for row in 0..<tokens * k { weightSpan[row] = values[row / k * expertCount + Int(expertSpan[row])] }
        } else {
            TopK.select(scores.span, columns: expertCount, k: k, indices: &expertSpan, selected: &weightSpan)
        }
        let scale = Float(policy.scalingFactor)
        let renormalizes = policy.renormalizes
        var tokenSpan = rowTokens.mutableSpan
        for token in 0..<tokens {
            let rows = token * k..<(token + 1) * k
            var sum: Float = 0
            for row in rows { sum += weightSpan[row] }
            // As DeepSeek-V3: sigmoids may all be 0. The sum of the largest probabilities is not changed by it.
            let divisor = renormalizes ? sum + 1e-20 : 1
            for row in rows {
                weightSpan[row] = weightSpan[row] / divisor * scale
                tokenSpan[row] = Int32(truncatingIfNeeded: token)
            }
        }
        return Routing(
            tokenCount: tokens, expertCount: expertCount, tokens: rowTokens, experts: experts, weights: weights)
    }

    /// s + b, and −∞ for experts of groups that a token may not use; nil: as s.
    private func choosable(_ scores: Tensor) -> Tensor? {
        guard selectionBias != nil || policy.groups != nil else { return nil }
        let choosable = Tensor(rows: scores.rows, columns: expertCount)
        choosable.copy(from: scores)
        if let selectionBias {
            let bias = selectionBias.value.span
            var values = choosable.mutableSpan
            for start in stride(from: 0, to: values.count, by: expertCount) {
                for expert in 0..<expertCount { values[start + expert] += bias[expert] }
            }
        }
        if let groups = policy.groups { mask(choosable, groups) }
        return choosable
    }

    private func mask(_ choosable: Tensor, _ groups: RoutingPolicy.Groups) {
        let size = expertCount / groups.count
        // A row for each group of each token.
        let members = choosable.reshaped(rows: choosable.rows * groups.count, columns: size)
        let best = min(selectionBias == nil ? 1 : 2, size)
        var indices = [Int32](repeating: 0, count: members.rows * best)
        var selected = [Float](repeating: 0, count: members.rows * best)
        var indexSpan = indices.mutableSpan
        var selectedSpan = selected.mutableSpan
        TopK.select(members.span, columns: size, k: best, indices: &indexSpan, selected: &selectedSpan)
        let groupScores = Tensor(rows: choosable.rows, columns: groups.count)
        var scoreSpan = groupScores.mutableSpan
        for group in 0..<members.rows {
            scoreSpan[group] = 0
            for place in 0..<best { scoreSpan[group] += selectedSpan[group * best + place] }
        }

        let chosen = choosable.rows * groups.perToken
        var chosenGroups = [Int32](repeating: 0, count: chosen)
        var chosenScores = [Float](repeating: 0, count: chosen)
        var groupSpan = chosenGroups.mutableSpan
        var chosenSpan = chosenScores.mutableSpan
        TopK.select(
            groupScores.span, columns: groups.count, k: groups.perToken, indices: &groupSpan, selected: &chosenSpan)
        var isAllowed = [Bool](repeating: false, count: members.rows)
        for index in 0..<chosen {
            isAllowed[index / groups.perToken * groups.count + Int(groupSpan[index])] = true
        }
        for group in 0..<members.rows where !isAllowed[group] { members.rows(group..<group + 1).fill(-.infinity) }
    }

    /// Each expert's tokens, of those of all ranks.
    private func chooseTokens(_ scores: Tensor, among group: any TokenGroup) throws -> Routing {
        let values = scores.span
        let places = ExpertPlaces(group: group, expertCount: expertCount)
        let kept = try places.assign(
            experts: values.indices.map { Int32(truncatingIfNeeded: $0 % expertCount) },
            keys: values.indices.map { ExpertPlaces.key(values[$0]) }, tokens: scores.rows
        ) { [expertsPerToken, expertCount] in
            ExpertCapacity.rows(factor: 1, tokens: $0, expertsPerToken: expertsPerToken, experts: expertCount)
        }.kept
        let chosen = kept.map { kept in kept.indices.filter { kept[$0] } } ?? Array(values.indices)
        let scale = Float(policy.scalingFactor)
        return Routing(
            tokenCount: scores.rows, expertCount: expertCount,
            tokens: chosen.map { Int32(truncatingIfNeeded: $0 / expertCount) },
            experts: chosen.map { Int32(truncatingIfNeeded: $0 % expertCount) },
            weights: chosen.map { values[$0] * scale })
    }
}
