import ExpertParallelism
import ExpertPlacement
import Layers
import MPIMessagePassing
import MessagePassing
import Randomness
import Tensors

/// One layer of experts with its router, over all ranks.
struct LayerCase {
    private let shape: StepShape
    private let world: MPICommunicator
    private let context: ExpertParallelContext
    private let block: SparseMoEBlock

    init(_ shape: StepShape, allocator: StaticAllocator, world: MPICommunicator) throws {
        self.shape = shape
        self.world = world
        context = ExpertParallelContext(communicator: world)
        let router = Router(
            hiddenSize: shape.hidden, expertCount: shape.experts, expertsPerToken: shape.expertsPerToken)
        // All experts get as many rows, as in the products that the layer is held against.
        router.assignsEvenly = true
        let widths = [Int](repeating: shape.intermediate, count: shape.experts)
        block = SparseMoEBlock(
            gate: router, experts: LocalExperts(hiddenSize: shape.hidden, widths: widths), timer: context.timer)
        try parallelizeExperts(
            in: block, matching: "experts", allocator: allocator, dispatcher: RandomDispatcher(seed: 1),
            configuration: ParallelConfiguration(
                layers: 1, expertsPerLayer: .uniform(shape.experts), context: context))
        // Weights of training's size, and gradients that are there.
        for case let experts as ParallelExperts in block.namedModules().map(\.module) { experts.zeroGradients() }
        let generator = CounterBasedGenerator(seed: 3, purpose: "benchmark", keys: [1])
        for index in 0..<router.weight.count {
            router.weight.value[index / shape.hidden, index % shape.hidden] = Float(generator.normal(at: UInt64(index)))
        }
        router.weight.gradient.fill(0)
    }

    /// Seconds of forward and backward, and of dispatch and combine in them; medians, of the slowest rank each time. Collective.
    func measure(rounds: Int) throws -> (seconds: Double, exchangeSeconds: Double) {
        let x = Tensor(rows: shape.tokens(world.size), columns: shape.hidden, repeating: 0.1)
        let gradient = Tensor(rows: x.rows, columns: x.columns, repeating: 0.01)
        let figures = try slowest(rounds: rounds, world: world) {
            _ = context.timer.take()
            let seconds = try elapsed {
                _ = try block.forward(x, savingForBackward: true)
                _ = try block.backward(gradient, probabilityGradient: nil)
            }
            let times = context.timer.take()
            return [seconds, (times[.dispatch]?.seconds ?? 0) + (times[.combine]?.seconds ?? 0)]
        }
        return (figures[0], figures[1])
    }

    /// Seconds of four `MPI_Alltoallv` of as many bytes as the layer exchanges when experts are whole: there and back, forward and
    /// backward; the median of the slowest rank's. Collective.
    /// - Parameter products: made after the first, a third of them, and after the third, the others: the exchanges then move what
    ///   has left the caches, and wait for the slower rank, as the layer's do.
    static func plainExchange(
        _ shape: StepShape, between products: [Product] = [], rounds: Int, world: MPICommunicator
    ) throws -> Double {
        // Each token has experts on as many ranks as it can, and its row goes there once.
        let rows = shape.tokens(world.size) * min(shape.expertsPerToken, world.size) / world.size
        let counts = (0..<world.size).map { $0 == world.rank ? 0 : rows * shape.hidden }
        let total = counts.reduce(0, +)
        let sent = Tensor(rows: 1, columns: total, repeating: 1)
        let received = Tensor(rows: 1, columns: total, repeating: 0)
        let memory = products.isEmpty ? nil : ProductMemory()
        let (forward, backward) = (products.filter(\.transposeB), products.filter { !$0.transposeB })
        return try slowestSeconds(rounds: rounds, world: world) {
            try [forward, [], backward, []].reduce(0) { sum, next in
                let exchange = try elapsed {
                    var target = received.mutableSpan
                    try world.allToAll(sent.span, sendCounts: counts, into: &target, receiveCounts: counts)
                }
                for product in next { memory?.multiply(product, times: product.count) }
                return sum + exchange
            }
        }
    }
}

/// What `body` returns on the slowest rank, seconds; the median of `rounds` after two that do not count. Collective.
func slowestSeconds(rounds: Int, world: MPICommunicator, _ body: () throws -> Double) throws -> Double {
    try slowest(rounds: rounds, world: world) { [try body()] }[0]
}

/// The same of several figures, each on the rank that is slowest in it.
func slowest(rounds: Int, world: MPICommunicator, _ body: () throws -> [Double]) throws -> [Double] {
    var figures = [[Double]]()
    for round in 0..<rounds + 2 {
        try world.barrier()
        var slowest = try body()
        var span = slowest.mutableSpan
        try world.allReduce(&span, .maximum)
        if round >= 2 { figures.append(slowest) }
    }
    return (figures.first ?? []).indices.map { index in median(figures.map { $0[index] }) }
}

/// Seconds that `body` takes.
func elapsed(_ body: () throws -> Void) rethrows -> Double { try ContinuousClock().measure(body) / .seconds(1) }
