import ControlProtocol
import ExpertPlacement

/// Why a line makes no sense, though it is well formed.
struct TraceCheck: Error, CustomStringConvertible {
    let description: String

    private static let limits = Limits.standard

    private static func require(_ isMet: Bool, _ problem: @autoclosure () -> String) throws(TraceCheck) {
        guard isMet else { throw TraceCheck(description: problem()) }
    }

    static func check(_ header: TraceHeader) throws(TraceCheck) {
        try require(
            header.source.utf8.count <= TraceLimits.sourceBytes,
            "source has more than \(TraceLimits.sourceBytes) bytes")
        try require(
            (header.run?.utf8.count ?? 0) <= limits.runNameBytes, "run has more than \(limits.runNameBytes) bytes")
        try check(header.model)
        if let topK = header.topK {
            let fewest = header.model.layers.map(\.count).min() ?? 0
            try require((1...max(1, fewest)).contains(topK), "top_k is \(topK), with layers of \(fewest) experts")
        }
        if let seed = header.seed { try require((0...limits.integer).contains(seed), "seed is \(seed)") }
        if let cluster = header.cluster {
            try require(
                (1...limits.worldSize).contains(cluster.worldSize) && cluster.nodes.allSatisfy { $0 >= 0 },
                "cluster has to have 1 to \(limits.worldSize) ranks on nodes from 0")
            try require(
                cluster.memoryLimits.map { $0.count == cluster.worldSize && $0.allSatisfy { $0 >= 0 } } ?? true,
                "cluster has memory limits that do not fit its \(cluster.worldSize) ranks")
            try require(
                (cluster.exchange?.isSensible ?? true) && (cluster.exchangeBetweenNodes?.isSensible ?? true),
                "cluster has exchange costs that make no sense")
        }
    }

    static func check(_ model: ExpertModel) throws(TraceCheck) {
        let experts = model.layers.reduce(0) { $0 + $1.count }
        try require(
            (1...limits.layers).contains(model.layers.count)
                && model.layers.allSatisfy { (1...limits.expertsPerLayer).contains($0.count) }
                && experts <= limits.experts,
            "model has \(model.layers.count) layers and \(experts) experts; there may be 1 to \(limits.layers) layers of 1 to "
                + "\(limits.expertsPerLayer) experts, \(limits.experts) in all")
        try require(
            (1...limits.width).contains(model.hiddenSize)
                && model.layers.joined().allSatisfy { (1...limits.width).contains($0) },
            "model has sizes that are not from 1 to \(limits.width)")
        do { try model.checkSize() } catch { throw TraceCheck(description: "\(error)") }
    }

    static func check(_ interval: TraceInterval, of model: ExpertModel) throws(TraceCheck) {
        let shape = interval.expertLoads.map(\.count)
        try require(
            shape == model.layers.map(\.count),
            "expert_loads are of \(shape.count) layers of \(sizes(shape)) experts, the trace's model has "
                + "\(model.layers.count) of \(sizes(model.layers.map(\.count)))")
        try require(
            interval.expertLoads.allSatisfy { $0.allSatisfy { (0...limits.integer).contains($0) } },
            "expert_loads are not all from 0 to \(limits.integer)")
        try require((1...limits.integer).contains(interval.stepCount), "step_count is \(interval.stepCount)")
        for (name, value) in [
            ("first_step", interval.firstStep), ("incarnation", interval.incarnation),
            ("plan_revision", interval.planRevision ?? 0), ("tokens", interval.tokens ?? 0),
        ] {
            try require((0...limits.integer).contains(value), "\(name) is \(value)")
        }
        try require(
            interval.stepSeconds.map { (0...limits.seconds).contains($0) } ?? true, "step_seconds are out of range")
        guard let ranks = interval.ranks else { return }
        try require(ranks.count <= limits.worldSize, "there are timings of \(ranks.count) ranks")
        for timing in ranks {
            try require((0..<limits.worldSize).contains(timing.rank), "there is a timing of rank \(timing.rank)")
            try require(
                timing.phaseSeconds.count <= limits.phases
                    && ([timing.stepSeconds] + timing.phaseSeconds.values).allSatisfy {
                        (0...limits.seconds).contains($0)
                    } && (0...limits.integer).contains(timing.expertWork ?? 0),
                "the timing of rank \(timing.rank) is out of range")
        }
    }

    static func check(_ plan: TracePlan, of model: ExpertModel) throws(TraceCheck) {
        do { try plan.plan.validate(for: model, worldSize: plan.plan.worldSize) } catch {
            throw TraceCheck(description: "\(error)")
        }
        let ranks = plan.plan.listedRanks
        try require(ranks <= limits.planRanks, "the plan lists \(ranks) ranks, over the limit of \(limits.planRanks)")
    }

    private static func sizes(_ counts: [Int]) -> String {
        let (least, most) = (counts.min() ?? 0, counts.max() ?? 0)
        return least == most ? "\(least)" : "\(least) to \(most)"
    }
}
