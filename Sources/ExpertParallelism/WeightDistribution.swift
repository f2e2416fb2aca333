import ExpertPlacement
import Layers
import MessagePassing
import Tensors

/// Which rank gets which of a model's whole weights, so that each gets about the same number of bytes: for writing them, all
/// ranks at once.
///
/// It depends on the model and the number of ranks alone, not on where the experts are.
public struct WeightDistribution {
    /// What goes to one rank as a whole.
    private enum Item {
        case parameter(name: String, Parameter)
        case sharded(name: String, ShardedParameter)
        case expert(path: String, ParallelExperts, Int)

        var weights: [(name: String, shape: [Int])] {
            switch self {
            case .parameter(let name, let parameter): [(name, parameter.shape)]
            case .sharded(let name, let shard): [(name, shard.shape)]
            case .expert(let path, let experts, let expert):
                experts.weights(of: expert).map { (join(path, $0.name), $0.shape) }
            }
        }
        var entries: Int { weights.reduce(0) { $0 + $1.shape.reduce(1, *) } }
    }

    /// By rank.
    private let parameters: [[Item]]
    private let sharded: [[Item]]
    private let experts: [[Item]]

    public init(_ model: any Module, worldSize: Int) {
        let items = model.namedModules().flatMap { path, module -> [Item] in
            if let module = module as? any TensorParallelModule {
                return module.sharded.map { .sharded(name: join(path, $0.name), $0) }
            }
            guard let experts = module as? ParallelExperts else {
                return (module.parameters + module.buffers).map { .parameter(name: join(path, $0.name), $0.parameter) }
            }
            return (0..<experts.expertCount).map { .expert(path: path, experts, $0) }
        }
        let total = items.reduce(0) { $0 + $1.entries }
        let none = [[Item]](repeating: [], count: worldSize)
        var (parameters, sharded, experts) = (none, none, none)
        var start = 0
        for item in items {
            // The rank within whose even part of all entries its middle lies.
            let middle = Double(start) + Double(item.entries) / 2
            let rank = min(worldSize - 1, Int(middle / Double(max(1, total)) * Double(worldSize)))
            switch item {
            case .parameter: parameters[rank].append(item)
            case .sharded: sharded[rank].append(item)
            case .expert: experts[rank].append(item)
            }
            start += item.entries
        }
        self.parameters = parameters
        self.sharded = sharded
        self.experts = experts
    }

    /// The ranks that get any: all, unless the model is very small.
    public var writers: [Int] { parameters.indices.filter { !weights(of: $0).isEmpty } }

    /// Names and shapes of what `rank` gets, in the order in which it comes.
    public func weights(of rank: Int) -> [(name: String, shape: [Int])] {
        (parameters[rank] + sharded[rank] + experts[rank]).flatMap(\.weights)
    }

    /// Hands this rank its weights, those that come from several ranks one for each rank at a time. Collective.
    /// - Throws: the sink's first error, after all ranks have got theirs: no rank waits for one whose disk is full.
    public func store(to sink: any WeightSink, communicator: any Communicator) throws {
        var failure: (any Error)?
        func attempt(_ body: () throws -> Void) {
            if failure != nil { return }
            do { try body() } catch { failure = error }
        }
        let rank = communicator.rank
        for case .parameter(let name, let parameter) in parameters[rank] {
            attempt { try sink.store(name, shape: parameter.shape, parameter.value) }
        }
        for round in 0..<(sharded.map(\.count).max() ?? 0) {
            let items = sharded.enumerated().compactMap { receiver, items -> (ShardedParameter, Int, String)? in
                guard round < items.count, case .sharded(let name, let shard) = items[round] else { return nil }
                return (shard, receiver, name)
            }
            let whole = try ShardedParameter.gather(
                items.map { ($0.0, $0.1) }, communicator: communicator, own: \.parameter.value)
            for (index, values) in whole {
                attempt { try sink.store(items[index].2, shape: items[index].0.shape, values) }
            }
        }
        for round in 0..<(experts.map(\.count).max() ?? 0) {
            let items = experts.map { round < $0.count ? $0[round] : nil }
            guard let whole = try gather(items, communicator),
                case .expert(let path, let group, let expert)? = items[rank]
            else { continue }
            attempt { try group.store(whole, expert: expert, to: sink, path: path) }
        }
        if let failure { throw failure }
    }

    /// Brings each rank the neurons of its expert, (F, 3·D), from the ranks that compute with them. Collective.
    private func gather(_ items: [Item?], _ communicator: any Communicator) throws -> Tensor? {
        var outgoing = [OutgoingBlock<Float>]()
        var incoming = [IncomingBlock<Float>]()
        var whole: Tensor?
        // Keeps what the blocks point to.
        var sent = [Tensor]()
        for (receiver, item) in items.enumerated() {
            guard case .expert(_, let group, let expert)? = item else { continue }
            let isOwn = receiver == communicator.rank
            let rows = isOwn ? Tensor(rows: group.widths[expert], columns: 3 * group.hiddenSize) : nil
            if isOwn { whole = rows }
            // Every rank that computes with neurons has their weights; these cut them evenly over the replicas.
            for part in group.placement.experts[expert].owners {
                let held = part.rank == communicator.rank ? group.shards[expert]?.value(of: part.neurons) : nil
                if let rows, let held {
                    rows.rows(part.neurons).copy(from: held)
                } else if let held {
                    sent.append(held)
                    outgoing.append(OutgoingBlock(held.span, to: receiver))
                } else if let rows {
                    let target = rows.rows(part.neurons)
                    var span = target.mutableSpan
                    incoming.append(IncomingBlock(&span, from: part.rank))
                }
            }
        }
        try withExtendedLifetime((whole, sent)) { try communicator.exchange(outgoing, incoming) }
        return whole
    }
}
