import ExpertPlacement

/// Predicted seconds of the experts of all layers in a step on a trace, exchange and synchronisation included, planned on
/// the line before: over lines, with the cost model's nominal values for experts of 1,024 × 4,096.
struct ShapeFigures: Encodable {
    let allocators: [Figure]

    struct Figure: Encodable {
        let allocator: String
        let seconds: Spread
        let plans: Int
        /// Neurons that arrived at ranks for replicas and for homes, of all neurons, over the whole trace.
        let replicasMoved: Double
        let homesMoved: Double
    }

    private static let hiddenSize = 1024
    private static let width = 4096
    private static let ranks = 16

    init(_ trace: Trace) throws {
        let names = [
            "tensor-parallel", "expert-parallel", "replicated", "eplb:slots=4",
            "load-balanced:slots=4,shapes=replicas", "load-balanced:slots=4", "load-balanced:slots=32",
        ]
        allocators = try names.map { try Self.figure($0, trace) }
    }

    private static func figure(_ name: String, _ trace: Trace) throws -> Figure {
        let costs = CostModel.nominal(hiddenSize: hiddenSize)
        let model = ExpertModel(
            hiddenSize: hiddenSize, layers: trace.loads[0].map { $0.map { _ in width } })
        let cluster = Cluster(worldSize: ranks)
        var allocator = try Allocators.make(named: name)
        guard var plan = try allocator.allocateExperts(current: nil, model: model, cluster: cluster, step: 0) else {
            throw PlacementError.unsuitableAllocator("\(name) makes no plan")
        }
        var seconds = [Double]()
        var (plans, replicas, homes) = (0, 0, 0)
        for line in 1..<trace.loads.count {
            allocator.collectPerformance(
                PerformanceSample(
                    firstStep: line, stepCount: 1, planRevision: 0, stepSeconds: 1, phaseSeconds: [:], bytesSent: 0,
                    tokens: 0, residentBytes: 0,
                    expertLoads: trace.loads[line - 1].map { $0.map { Int($0) } }), rank: 0)
            if let next = try allocator.allocateExperts(current: plan, model: model, cluster: cluster, step: line) {
                for (old, new) in zip(plan.layers, next.layers) {
                    let change = PlacementChange(from: old, to: new, worldSize: ranks)
                    replicas += change.replicaNeurons.reduce(0, +)
                    homes += change.homeNeurons.reduce(0, +)
                }
                plan = next
                plans += 1
            }
            let step = zip(plan.layers, trace.loads[line]).map { layer, loads in
                LayerPrediction(
                    layer, loads: loads, deviations: loads.map { _ in 0 }, caution: 0, costs: costs,
                    hiddenSize: hiddenSize, worldSize: ranks
                ).seconds
            }
            seconds.append(step.reduce(0, +))
        }
        let neurons = Double(width * trace.loads[0].joined().count)
        return Figure(
            allocator: name, seconds: Spread(seconds), plans: plans, replicasMoved: Double(replicas) / neurons,
            homesMoved: Double(homes) / neurons)
    }
}
