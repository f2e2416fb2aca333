// A placement policy of one's own, asked after each of some intervals in which loads drift.

import ExpertPlacement
import Randomness

let model = ExpertModel(hiddenSize: 64, layers: [[Int]](repeating: [Int](repeating: 128, count: 16), count: 2))
let cluster = Cluster(worldSize: 4)
let tokens = 4096

/// Rows of each expert in an interval: a few are hot, others every time.
func loads(interval: Int) -> [[Int]] {
    model.layers.indices.map { layer in
        let generator = CounterBasedGenerator(seed: 7, purpose: "loads", keys: [interval / 2, layer])
        let shares = model.layers[layer].indices.map { 1 / (0.02 + generator.uniform(at: UInt64($0))) }
        let sum = shares.reduce(0, +)
        return shares.map { Int(Double(tokens) * $0 / sum) }
    }
}

/// The busiest rank's rows over the mean, the worst of the layers.
func imbalance(of plan: PlacementPlan, under loads: [[Int]]) -> Double {
    zip(plan.layers, loads).map { placement, loads in
        var work = [Double](repeating: 0, count: plan.worldSize)
        for (expert, rows) in zip(placement.experts, loads) {
            for replica in 0..<expert.mesh.dataParallel {
                for rank in expert.mesh.ranks(ofReplica: replica) {
                    work[rank] +=
                        Double(rows) * expert.fraction(ofReplica: replica) / Double(expert.mesh.tensorParallel)
                }
            }
        }
        return (work.max() ?? 0) * Double(work.count) / work.reduce(0, +)
    }.max() ?? 1
}

var allocator = HottestReplicated(replicated: 2)
guard var plan = try allocator.allocateExperts(current: nil, model: model, cluster: cluster, step: 0) else {
    fatalError("a policy has to have a first plan")
}
for interval in 0..<6 {
    let measured = loads(interval: interval)
    let before = imbalance(of: plan, under: measured)
    allocator.collectPerformance(
        PerformanceSample(
            firstStep: interval * 10 + 1, stepCount: 10, planRevision: plan.revision, stepSeconds: 1, phaseSeconds: [:],
            bytesSent: 0, tokens: tokens, residentBytes: 0, expertLoads: measured), rank: 0)
    if var next = try allocator.allocateExperts(
        current: plan, model: model, cluster: cluster, step: (interval + 1) * 10)
    {
        next.revision = plan.revision + 1
        plan = next
    }
    print(
        "interval \(interval): busiest rank \(Float(before)) × the mean before, \(Float(imbalance(of: plan, under: measured))) after"
    )
}
