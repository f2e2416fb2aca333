/// Memory that one rank needs while a layer migrates.
extension LayerMigration {
    /// The neurons that an exchange of at most `chunkBytes` sends from a rank, and as many that it receives; at least one.
    public static func neuronLimit(chunkBytes: Int, hiddenSize: Int) -> Int {
        max(1, chunkBytes / neuronBytes(hiddenSize: hiddenSize))
    }

    /// The most that weights, gradients and moments of this layer take on `rank` at any time.
    ///
    /// An expert under way has its old and its new weights and moments, and no gradients, which are dead between two steps;
    /// ranges that do not change stay where they are. That makes at most
    ///
    ///     Σ max(before, after, old and new weights and moments)
    ///
    /// over the layer's experts, each with what this rank holds of it; never more than before and after together. Neurons
    /// travel from where they lie to where they go: only a communicator that has to pack (of threads, in one process) takes
    /// 2 · max(chunkBytes, neuron) for that.
    public func peakBytes(of rank: Int, hiddenSize: Int, chunkBytes: Int) -> Int {
        peakBytes(of: rank, stages: stages(hiddenSize: hiddenSize, chunkBytes: chunkBytes), hiddenSize: hiddenSize)
    }

    /// The same of each rank, W entries.
    public func peakBytes(hiddenSize: Int, chunkBytes: Int) -> [Int] {
        let stages = stages(hiddenSize: hiddenSize, chunkBytes: chunkBytes)
        return (0..<worldSize).map { peakBytes(of: $0, stages: stages, hiddenSize: hiddenSize) }
    }

    private func stages(hiddenSize: Int, chunkBytes: Int) -> [MigrationStage] {
        stages(neuronLimit: Self.neuronLimit(chunkBytes: chunkBytes, hiddenSize: hiddenSize))
    }

    private func peakBytes(of rank: Int, stages: [MigrationStage], hiddenSize: Int) -> Int {
        let experts = target.experts.indices.map { expert in
            ExpertMemory(
                old: source.stateRanges(of: expert, rank: rank, ownership, layer: layer, worldSize: worldSize),
                new: target.stateRanges(of: expert, rank: rank, ownership, layer: layer, worldSize: worldSize))
        }
        var neurons = experts.reduce(0) { $0 + $1.before }
        var peak = neurons
        for stage in stages {
            for expert in stage.starting { neurons += experts[expert].during - experts[expert].before }
            peak = max(peak, neurons)
            for expert in stage.finishing { neurons += experts[expert].after - experts[expert].during }
            peak = max(peak, neurons)
        }
        return peak * Self.neuronBytes(hiddenSize: hiddenSize)
    }
}

/// Memory of one expert on one rank, in neurons' weights.
private struct ExpertMemory {
    let before: Int
    let during: Int
    let after: Int

    init(old: StateRanges, new: StateRanges) {
        func count(_ ranges: [Range<Int>]) -> Int { ranges.reduce(0) { $0 + $1.count } }
        // A gradient for each weight, and two moments.
        before = 2 * count(old.weights) + 2 * old.owned.count
        after = 2 * count(new.weights) + 2 * new.owned.count
        let moments = old.owned == new.owned ? old.owned.count : old.owned.count + new.owned.count
        // A range that stays counts as old and as new: once for its weights, once for their gradient, which stays too.
        during = count(old.weights) + count(new.weights) + 2 * moments
    }
}
