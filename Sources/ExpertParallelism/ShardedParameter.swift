import ExpertPlacement
import Layers
import MessagePassing
import Tensors

/// A parameter that is cut over the ranks of a tensor-parallel group: by rows or by columns. Ranks may have the same part.
public struct ShardedParameter {
    /// A block of the whole matrix; a vector is one row.
    public struct Part: Hashable, Sendable {
        public let rows: Range<Int>
        public let columns: Range<Int>

        public init(rows: Range<Int>, columns: Range<Int>) {
            self.rows = rows
            self.columns = columns
        }

        /// All of a parameter.
        init(allOf shape: [Int]) {
            self.init(rows: 0..<(shape.count == 2 ? shape[0] : 1), columns: 0..<shape[shape.count - 1])
        }

        /// What some outputs of a projection have of its weight, (out, in), or of a vector with an entry for each output.
        init(outputs: Range<Int>, of shape: [Int]) {
            let all = Part(allOf: shape)
            self = shape.count == 2 ? Part(rows: outputs, columns: all.columns) : Part(rows: all.rows, columns: outputs)
        }

        /// What some inputs of a projection have of its weight.
        init(inputs: Range<Int>, of shape: [Int]) {
            self.init(rows: Part(allOf: shape).rows, columns: inputs)
        }
    }

    /// Below the module that has it.
    public let name: String
    /// This rank's part.
    public let parameter: Parameter
    /// Of the whole.
    public let shape: [Int]
    /// By place in the group.
    let parts: [Part]
    /// All ranks that have this rank's part, of all groups.
    let holders: any Communicator
    private let dense: DenseParallelContext

    /// Collective.
    /// - Parameter parts: of each place in the group; together they have every entry.
    public init(
        name: String, parameter: Parameter, shape: [Int], parts: [Part], dense: DenseParallelContext
    ) throws {
        self.name = name
        self.parameter = parameter
        self.shape = shape
        self.parts = parts
        self.dense = dense
        let own = parts[dense.group.rank]
        precondition(
            own.rows.count == parameter.rows && own.columns.count == parameter.columns,
            "\(name) is not the part's shape")
        holders = try dense.holders(parts.map { parts.firstIndex(of: $0) ?? 0 })
    }

    /// The parameters of a module, of which each rank of the group has a part. Collective.
    /// - Parameters:
    ///   - local: this rank's part of `whole`, with the same names.
    ///   - part: what a place in the group has of a parameter.
    static func all(
        of local: any Module, partOf whole: any Module, dense: DenseParallelContext,
        _ part: (_ name: String, _ shape: [Int], _ place: Int) -> Part
    ) throws -> [ShardedParameter] {
        try zip(local.namedParameters(), whole.namedParameters()).map { own, whole in
            let shape = whole.parameter.shape
            return try ShardedParameter(
                name: own.name, parameter: own.parameter, shape: shape,
                parts: (0..<dense.group.size).map { part(own.name, shape, $0) }, dense: dense)
        }
    }

    var own: Part { parts[dense.group.rank] }
    var rows: Int { shape.count == 2 ? shape[0] : 1 }
    var columns: Int { shape[shape.count - 1] }
    var count: Int { rows * columns }

    /// The parts, each once, with a rank of all that has it.
    private var sources: [(rank: Int, part: Part)] {
        // Ranks of the first group are the lowest.
        parts.indices.filter { parts.firstIndex(of: parts[$0]) == $0 }.map { ($0, parts[$0]) }
    }

    /// Puts together what the ranks have of some parameters, each on one rank, in one exchange. Collective over all ranks.
    /// - Parameters:
    ///   - items: parameters with the rank that gets each; the same on all ranks.
    ///   - own: this rank's part of one of them, as it is to be sent, of the parameter's shape.
    /// - Returns: the whole tensors that are for this rank, by index among the items.
    static func gather(
        _ items: [(parameter: ShardedParameter, receiver: Int)], communicator: any Communicator,
        own: (ShardedParameter) -> Tensor
    ) throws -> [Int: Tensor] {
        let rank = communicator.rank
        var whole = [Int: Tensor]()
        var (outgoing, incoming) = ([OutgoingBlock<Float>](), [IncomingBlock<Float>]())
        var sent = [Tensor]()
        var arrived = [(part: Tensor, target: Tensor)]()
        for (index, item) in items.enumerated() {
            let parameter = item.parameter
            let target = item.receiver == rank ? Tensor(rows: parameter.rows, columns: parameter.columns) : nil
            whole[index] = target
            for (source, part) in parameter.sources {
                let place = target?.rows(part.rows).columns(part.columns)
                if source == rank, let place {
                    place.copy(from: own(parameter))
                } else if source == rank {
                    let values = own(parameter)
                    sent.append(values)
                    outgoing.append(OutgoingBlock(values.span, to: item.receiver))
                } else if let place {
                    let values = Tensor(rows: part.rows.count, columns: part.columns.count)
                    arrived.append((values, place))
                    var span = values.mutableSpan
                    incoming.append(IncomingBlock(&span, from: source))
                }
            }
        }
        try withExtendedLifetime((sent, arrived)) { try communicator.exchange(outgoing, incoming) }
        for (part, target) in arrived { target.copy(from: part) }
        return whole
    }
}

/// A module whose parameters are cut over the ranks of a tensor-parallel group. It has no others, and no parts that do.
public protocol TensorParallelModule: Module {
    var sharded: [ShardedParameter] { get }
    var dense: DenseParallelContext { get }
}

extension TensorParallelModule {
    public var ownWeights: [(name: String, shape: [Int])] { sharded.map { ($0.name, $0.shape) } }

    /// Loads what this rank has of the weights of `whole`, if that has any.
    func takeOver(_ whole: any Module) throws {
        guard whole.namedParameters().contains(where: \.parameter.isMaterialized) else { return }
        try loadOwnWeights(from: ModuleWeights(whole), path: "")
    }

    /// Loads what this rank has, and no more.
    public func loadOwnWeights(from source: any WeightSource, path: String) throws {
        for shard in sharded {
            try source.load(
                join(path, shard.name), shape: shard.shape, rows: shard.own.rows, columns: shard.own.columns,
                into: shard.parameter.value)
        }
    }

    /// Rank 0's sink gets them; the other ranks' sinks get nothing. Collective.
    public func storeOwnWeights(to sink: any WeightSink, path: String) throws {
        for shard in sharded {
            let whole = try ShardedParameter.gather(
                [(shard, 0)], communicator: dense.context.communicator, own: \.parameter.value)
            if let values = whole[0] { try sink.store(join(path, shard.name), shape: shard.shape, values) }
        }
    }
}
