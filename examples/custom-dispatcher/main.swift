// A choice of replicas of one's own: fewer rows cross the link between two nodes, and the result is the same.

import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing
import Randomness
import Tensors

let nodes = [0, 0, 1, 1]
let (hiddenSize, expertCount, tokens) = (32, 8, 256)

/// Every expert twice, once on each node.
func makePlan() throws -> PlacementPlan {
    let experts = try (0..<expertCount).map { expert in
        try ExpertPlacement(
            width: 64, mesh: DeviceMesh(dataParallel: 2, tensorParallel: 1, ranks: [expert % 2, 2 + expert % 2]))
    }
    return try PlacementPlan(worldSize: nodes.count, nodes: nodes, layers: [LayerPlacement(experts: experts)])
}

/// The same numbers at the same places on any rank.
func normal(_ purpose: String, rows: Range<Int>, columns: Range<Int>, of width: Int) -> Tensor {
    let generator = CounterBasedGenerator(seed: 3, purpose: purpose)
    let values = rows.flatMap { row in columns.map { Float(0.2 * generator.normal(at: UInt64(row * width + $0))) } }
    return Tensor(values, rows: rows.count, columns: columns.count)
}

struct Weights: WeightSource {
    func load(
        _ name: String, shape: [Int], rows: Range<Int>, columns: Range<Int>, into destination: Tensor
    ) throws {
        destination.copy(from: normal(name, rows: rows, columns: columns, of: shape[shape.count - 1]))
    }
}

/// What the experts make of this rank's tokens, and how many rows leave their node for it.
func forward(_ dispatcher: any TokenDispatcher, on communicator: any Communicator) throws -> (y: [Float], crossing: Int)
{
    let router = Router(hiddenSize: hiddenSize, expertCount: expertCount, expertsPerToken: 2)
    let block = SparseMoEBlock(
        gate: router,
        experts: LocalExperts(hiddenSize: hiddenSize, widths: [Int](repeating: 64, count: expertCount)))
    let context = ExpertParallelContext(communicator: communicator)
    let plan = try parallelizeExperts(
        in: block, matching: "experts", allocator: StaticAllocator(.expertParallel), dispatcher: dispatcher,
        configuration: ParallelConfiguration(
            layers: 1, expertsPerLayer: .uniform(expertCount), context: context, nodes: nodes, plan: makePlan()))
    try block.loadWeights(from: Weights())

    let own = evenPart(communicator.rank, of: communicator.size, in: 0..<tokens)
    context.firstToken = own.lowerBound
    let x = normal("tokens", rows: own, columns: 0..<hiddenSize, of: hiddenSize)
    let y = try block.forward(x, savingForBackward: false)

    var dispatcher = dispatcher
    let routing = try router.forward(x, savingForBackward: false)
    let origin = DispatchOrigin(rank: communicator.rank, step: 0, layer: 0, firstToken: own.lowerBound)
    let replicas = dispatcher.assignTask(routing, placement: plan.layers[0], origin: origin)
    // A token's row goes to a rank once, for all its experts there.
    var crossing = Set<[Int]>()
    for (row, replica) in replicas.enumerated() {
        let mesh = plan.layers[0].experts[Int(routing.experts[row])].mesh
        for rank in mesh.ranks(ofReplica: replica) where nodes[rank] != nodes[communicator.rank] {
            crossing.insert([Int(routing.tokens[row]), rank])
        }
    }
    return (y.array, crossing.count)
}

func run(_ dispatcher: any TokenDispatcher) throws -> (y: [Float], crossing: Int) {
    let ranks = try ThreadCommunicator.run(worldSize: nodes.count) { try forward(dispatcher, on: $0) }
    return (ranks.flatMap(\.y), ranks.reduce(0) { $0 + $1.crossing })
}

let random = try run(RandomDispatcher(seed: 1))
let near = try run(NodeLocalDispatcher(nodes: nodes))
print("with RandomDispatcher \(random.crossing) rows cross to the other node")
print("with NodeLocalDispatcher \(near.crossing) rows cross to the other node")
let difference = zip(random.y, near.y).map { abs($0 - $1) }.max() ?? 0
print(difference < 1e-5 ? "the results are the same" : "the results differ by \(difference)")
