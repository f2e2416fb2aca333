import ExpertPlacement
import Layers
import MessagePassing
import Tensors

/// A parameter that is no expert's.
struct DenseParameter {
    let name: String
    let parameter: Parameter
    /// What part this is of which whole; nil: the whole itself.
    let shard: ShardedParameter?
}

/// The dense parameters that every rank of a group holds alike, and this rank's share of their optimizer state (ZeRO-1,
/// Rajbhandari et al. 2020, arXiv:1910.02054).
///
/// All of them lie in one buffer. Those of a stage are cut evenly over the ranks: gradients are summed to the owner of each piece, which
/// updates it and gives it to all.
final class DenseState {
    /// The parameters of one of the model's stages.
    private struct Stage {
        let parameters: Range<Int>
        /// Their place in the buffers, and what ranks own of it.
        let place: Range<Int>
        let parts: [Range<Int>]
        /// Where what this rank owns lies among all that it owns.
        let local: Range<Int>
        /// What is under way; gradients of this rank's part that come, a row for each other rank.
        var reduction: (exchange: any PendingExchange, received: Tensor)?
        var refresh: (any PendingExchange)?
    }

    /// In the order of the stages.
    let parameters: [DenseParameter]
    /// Place of each parameter in the buffers.
    private let places: [Range<Int>]
    private var stages: [Stage]
    /// All weights and all gradients of this rank, (1, n).
    private let values: Tensor
    private let gradients: Tensor
    /// Sum over the ranks, moments: (1, owned). With one rank the sum is the gradient itself.
    private let reducedGradient: Tensor
    let firstMoment: Tensor
    let secondMoment: Tensor
    /// The ranks that hold the same.
    private let communicator: any Communicator
    private let context: ExpertParallelContext

    /// - Parameter stages: the parameters of each.
    init(_ stages: [[DenseParameter]], communicator: any Communicator, context: ExpertParallelContext) {
        self.context = context
        self.communicator = communicator
        let (rank, size) = (communicator.rank, communicator.size)
        parameters = Array(stages.joined())
        var places = [Range<Int>]()
        var (end, owned) = (0, 0)
        self.stages = stages.map { named in
            let (first, start) = (places.count, end)
            for dense in named {
                places.append(end..<end + dense.parameter.count)
                end += dense.parameter.count
            }
            let parts = (0..<size).map { evenPart($0, of: size, in: start..<end) }
            defer { owned += parts[rank].count }
            return Stage(
                parameters: first..<places.count, place: start..<end, parts: parts,
                local: owned..<owned + parts[rank].count)
        }
        self.places = places
        values = Tensor(rows: 1, columns: end)
        gradients = Tensor(rows: 1, columns: end, repeating: 0)
        reducedGradient = size == 1 ? gradients : Tensor(rows: 1, columns: owned, repeating: 0)
        firstMoment = Tensor(rows: 1, columns: owned, repeating: 0)
        secondMoment = Tensor(rows: 1, columns: owned, repeating: 0)
        for (parameter, place) in zip(parameters.map(\.parameter), places) {
            let value = values.columns(place).reshaped(rows: parameter.rows, columns: parameter.columns)
            if parameter.isMaterialized { value.copy(from: parameter.value) } else { value.fill(0) }
            parameter.value = value
            parameter.gradient = gradients.columns(place).reshaped(rows: parameter.rows, columns: parameter.columns)
        }
    }

    func zeroGradients() { gradients.fill(0) }

    /// Begins to sum a stage's gradients over the ranks. Collective.
    func startReduction(stage index: Int) throws {
        if communicator.size == 1 { return }
        let stage = stages[index]
        let received = Tensor(rows: communicator.size - 1, columns: stage.local.count)
        let others = communicator.otherRanks
        stages[index].reduction = (
            try context.startExchange(
                leaving: others.map { ($0, gradients.columns(stage.parts[$0])) },
                arriving: others.enumerated().map { ($1, received.rows($0..<$0 + 1)) }, among: communicator),
            received
        )
    }

    /// Waits for them, and adds them in the ranks' order. Collective.
    func finishReduction(stage index: Int) throws {
        let stage = stages[index]
        guard let (exchange, received) = stage.reduction else { return }
        stages[index].reduction = nil
        try exchange.wait()
        let sum = reducedGradient.columns(stage.local)
        for rank in 0..<communicator.size {
            let part =
                rank == communicator.rank
                ? gradients.columns(stage.parts[rank]) : received.rows(row(of: rank)..<row(of: rank) + 1)
            if rank == 0 { sum.copy(from: part) } else { Rows.add(part, into: sum) }
        }
    }

    /// Of the summed gradients that this rank owns.
    func sumOfSquares() -> Double { Reductions.sumOfSquares(reducedGradient) }

    /// Updates what this rank owns of a stage and begins to spread it. Collective.
    func step(_ step: Int, stage index: Int, configuration: AdamW.Configuration, gradientScale: Float) throws {
        var withoutDecay = configuration
        withoutDecay.weightDecay = 0
        for (parameter, part, local) in ownedParts(of: stages[index]) {
            AdamW.update(
                value: values.columns(part), gradient: reducedGradient.columns(local),
                firstMoment: firstMoment.columns(local), secondMoment: secondMoment.columns(local),
                step: step, configuration: parameters[parameter].parameter.decays ? configuration : withoutDecay,
                gradientScale: gradientScale)
        }
        if communicator.size == 1 { return }
        let parts = stages[index].parts
        let others = communicator.otherRanks
        stages[index].refresh = try context.startExchange(
            leaving: others.map { ($0, values.columns(parts[communicator.rank])) },
            arriving: others.map { ($0, values.columns(parts[$0])) }, among: communicator)
    }

    /// Returns when a stage's weights are up to date. Collective.
    func finishRefresh(stage: Int) throws {
        defer { stages[stage].refresh = nil }
        try stages[stage].refresh?.wait()
    }

    /// Each parameter that this rank owns a part of: the part's place in the buffers, and among what the rank owns.
    func forEachOwnedPart(
        _ body: (DenseParameter, _ place: Range<Int>, _ part: Range<Int>, _ local: Range<Int>) -> Void
    ) {
        for stage in stages {
            for (parameter, part, local) in ownedParts(of: stage) {
                body(parameters[parameter], places[parameter], part, local)
            }
        }
    }

    private func ownedParts(of stage: Stage) -> [(parameter: Int, part: Range<Int>, local: Range<Int>)] {
        let owned = stage.parts[communicator.rank]
        let offset = stage.local.lowerBound - owned.lowerBound
        return stage.parameters.compactMap { parameter in
            let part = places[parameter].clamped(to: owned)
            return part.isEmpty
                ? nil : (parameter, part, part.lowerBound + offset..<part.upperBound + offset)
        }
    }

    /// Index of another rank among `otherRanks`.
    private func row(of rank: Int) -> Int { (rank - communicator.rank - 1 + communicator.size) % communicator.size }

    /// The parameters whose gradients on this rank are not finite.
    func nonFiniteGradients() -> [String] {
        parameters.filter { !Reductions.allFinite($0.parameter.gradient) }.map(\.name)
    }

    /// The first parameter of a stage whose weights are not finite.
    func firstNonFiniteWeight(stage: Int) -> String? {
        parameters[stages[stage].parameters].first { !Reductions.allFinite($0.parameter.value) }?.name
    }

    /// Hands the summed gradients to `sink`; those of sharded parameters to rank 0's. Collective over all ranks.
    func storeGradients(to sink: any WeightSink) throws {
        let all = Tensor(rows: 1, columns: values.columns)
        for stage in stages {
            let sum = reducedGradient.columns(stage.local)
            let whole = all.columns(stage.place)
            var target = whole.mutableSpan
            try communicator.allGather(sum.span, counts: stage.parts.map(\.count), into: &target)
        }
        for (dense, place) in zip(parameters, places) {
            let parameter = dense.parameter
            let part = all.columns(place).reshaped(rows: parameter.rows, columns: parameter.columns)
            guard let shard = dense.shard else {
                try sink.store(dense.name, shape: parameter.shape, part)
                continue
            }
            let whole = try ShardedParameter.gather([(shard, 0)], communicator: context.communicator) { _ in part }
            if let values = whole[0] { try sink.store(dense.name, shape: shard.shape, values) }
        }
    }
}
