import ExpertParallelism
import ExpertPlacement
import MessagePassing
import Tensors

/// Weights and moments of all experts, bit by bit, wherever they are.
public struct StateSnapshot: Equatable, Sendable {
    struct Key: Hashable, Sendable {
        let layer: Int
        let expert: Int
        let part: Int
        let neuron: Int
    }

    private var rows = [Key: [Int]]()

    /// Gathers them from all ranks on all. Collective.
    /// - Throws: `InvarianceFailure` when two ranks hold different weights, or a rank holds other neurons than placement and
    ///   ownership give it.
    public init(of optimizer: MoEOptimizer, communicator: any Communicator) throws {
        let parts = StatePart.allCases
        var numbers = [Int]()
        var length = 0
        optimizer.forEachExpertPart { layer, expert, part, neurons, values in
            length = 5 + values.columns
            for (row, neuron) in neurons.enumerated() {
                numbers += [communicator.rank, layer, expert, parts.firstIndex(of: part) ?? 0, neuron]
                numbers += values.rows(row..<row + 1).array.map { Int($0.bitPattern) }
            }
        }
        var lengths = [length]
        var span = lengths.mutableSpan
        try communicator.allReduce(&span, .maximum)
        let all = try communicator.gathered(numbers)
        var holders = [Key: [Int]]()
        for start in stride(from: 0, to: all.count, by: lengths[0]) {
            let key = Key(
                layer: all[start + 1], expert: all[start + 2], part: all[start + 3], neuron: all[start + 4])
            let bits = Array(all[start + 5..<start + lengths[0]])
            guard rows.updateValue(bits, forKey: key).map({ $0 == bits }) != false else {
                throw InvarianceFailure(description: "ranks hold different rows of \(key)")
            }
            holders[key, default: []].append(all[start])
        }
        let expected = Self.holders(optimizer, worldSize: communicator.size)
        for key in Set(expected.keys).union(holders.keys)
        where holders[key]?.sorted() != expected[key]?.sorted() {
            throw InvarianceFailure(
                description: "\(key) is on ranks \(holders[key] ?? []) instead of \(expected[key] ?? [])")
        }
    }

    /// Who has to hold what, worked out neuron by neuron.
    private static func holders(_ optimizer: MoEOptimizer, worldSize: Int) -> [Key: [Int]] {
        var holders = [Key: [Int]]()
        for (layer, placement) in optimizer.placements.enumerated() {
            for (expert, experts) in placement.experts.enumerated() {
                let owners = experts.owners(optimizer.ownership, layer: layer, expert: expert, worldSize: worldSize)
                for neuron in 0..<experts.width {
                    let owner = owners.filter { $0.neurons.contains(neuron) }.map(\.rank)
                    let residents = (0..<worldSize).filter {
                        experts.residentNeurons(of: $0)?.contains(neuron) == true
                    }
                    let ranks = [Array(Set(residents + owner)), owner, owner]
                    for (part, ranks) in ranks.enumerated() {
                        holders[Key(layer: layer, expert: expert, part: part, neuron: neuron)] = ranks
                    }
                }
            }
        }
        return holders
    }
}
