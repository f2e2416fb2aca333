import ExpertPlacement
import Layers
import MessagePassing
import Tensors

/// The dense parameters, which every rank holds whole, and this rank's share of their optimizer state (ZeRO-1, Rajbhandari
/// et al. 2020, arXiv:1910.02054).
///
/// All of them lie in one buffer, cut evenly over the ranks: gradients are summed to the owner of each piece, which
/// updates it and gives it to all.
final class DenseState {
    let names: [String]
    private let parameters: [Parameter]
    /// Place of each parameter in the buffers.
    let places: [Range<Int>]
    /// All weights and all gradients of this rank, (1, n).
    private let values: Tensor
    private let gradients: Tensor
    /// What this rank owns of them.
    let owned: Range<Int>
    private let ownedCounts: [Int]
    /// Sum over the ranks, moments: (1, owned). With one rank the sum is the gradient itself.
    private let reducedGradient: Tensor
    let firstMoment: Tensor
    let secondMoment: Tensor
    private let context: ExpertParallelContext

    init(_ named: [(name: String, parameter: Parameter)], context: ExpertParallelContext) {
        self.context = context
        names = named.map(\.name)
        parameters = named.map(\.parameter)
        var places = [Range<Int>]()
        var end = 0
        for parameter in parameters {
            places.append(end..<end + parameter.count)
            end += parameter.count
        }
        self.places = places
        values = Tensor(rows: 1, columns: end)
        gradients = Tensor(rows: 1, columns: end, repeating: 0)
        let (rank, size) = (context.communicator.rank, context.communicator.size)
        owned = evenPart(rank, of: size, in: 0..<end)
        ownedCounts = (0..<size).map { evenPart($0, of: size, in: 0..<end).count }
        reducedGradient = size == 1 ? gradients : Tensor(rows: 1, columns: owned.count, repeating: 0)
        firstMoment = Tensor(rows: 1, columns: owned.count, repeating: 0)
        secondMoment = Tensor(rows: 1, columns: owned.count, repeating: 0)
        for (parameter, place) in zip(parameters, places) {
            let value = values.columns(place).reshaped(rows: parameter.rows, columns: parameter.columns)
            if parameter.isMaterialized { value.copy(from: parameter.value) } else { value.fill(0) }
            parameter.value = value
            parameter.gradient = gradients.columns(place).reshaped(rows: parameter.rows, columns: parameter.columns)
        }
    }

    func zeroGradients() { gradients.fill(0) }

    /// Sums the gradients over the ranks.
    /// - Returns: the sum of squares of the part this rank owns.
    func reduceGradients() throws -> Double {
        guard context.communicator.size > 1 else { return Reductions.sumOfSquares(gradients) }
        // Spans live as long as the variable they borrow, so the tensors become local.
        let (all, part) = (gradients, reducedGradient)
        var target = part.mutableSpan
        try context.communicator.reduceScatter(all.span, counts: ownedCounts, into: &target)
        context.countSent(values.count - owned.count, of: Float.self)
        return Reductions.sumOfSquares(reducedGradient)
    }

    /// Updates the owned part and spreads it.
    func step(_ step: Int, configuration: AdamW.Configuration, gradientScale: Float) throws {
        var withoutDecay = configuration
        withoutDecay.weightDecay = 0
        for (parameter, place) in zip(parameters, places) {
            let part = place.clamped(to: owned)
            if part.isEmpty { continue }
            let local = part.lowerBound - owned.lowerBound..<part.upperBound - owned.lowerBound
            AdamW.update(
                value: values.columns(part), gradient: reducedGradient.columns(local),
                firstMoment: firstMoment.columns(local), secondMoment: secondMoment.columns(local),
                step: step, configuration: parameter.decays ? configuration : withoutDecay,
                gradientScale: gradientScale)
        }
        guard context.communicator.size > 1 else { return }
        let block = Tensor(rows: 1, columns: owned.count)
        block.copy(from: values.columns(owned))
        let all = values
        var target = all.mutableSpan
        try context.communicator.allGather(block.span, counts: ownedCounts, into: &target)
        context.countSent(owned.count * (context.communicator.size - 1), of: Float.self)
    }

    /// The parameters whose gradients on this rank are not finite.
    func nonFiniteGradients() -> [String] {
        zip(names, parameters).filter { !Reductions.allFinite($0.1.gradient) }.map(\.0)
    }

    /// The first parameter whose weights are not finite.
    func firstNonFiniteWeight() -> String? {
        zip(names, parameters).first { !Reductions.allFinite($0.1.value) }?.0
    }

    /// Hands the summed gradients to `sink`. Collective.
    func storeGradients(to sink: any WeightSink) throws {
        let part = reducedGradient
        let all = Tensor(rows: 1, columns: values.columns)
        var target = all.mutableSpan
        try context.communicator.allGather(part.span, counts: ownedCounts, into: &target)
        for ((name, parameter), place) in zip(zip(names, parameters), places) {
            try sink.store(
                name, shape: parameter.shape,
                all.columns(place).reshaped(rows: parameter.rows, columns: parameter.columns))
        }
    }
}
