import ExpertPlacement
import Foundation

/// Where the experts of a run were, step by step: a JSON line for each change, so that another run can have them there in the
/// same steps. A start of the run begins with a line of all layers; what it says replaces what earlier lines say of that step
/// and those after it, which an incarnation did that was cut off.
struct PlacementLog {
    /// A line.
    struct Change: Codable, Hashable {
        /// The first step (from 1) that it is for.
        var step: Int
        /// Of the plan in force from this step on.
        var revision: Int
        /// W.
        var worldSize: Int
        /// The layers that are somewhere else than before, ascending.
        var layers: [Int]
        /// By `layers`, then by expert.
        var experts: [[ExpertPlacement]]

        private enum CodingKeys: String, CodingKey {
            case step, revision, layers, experts
            case worldSize = "world_size"
        }
    }

    let path: String
    /// Ascending by step.
    private(set) var changes = [Change]()
    /// Where all layers are after the last change.
    private var experts = [[ExpertPlacement]]()
    var worldSize: Int { changes[0].worldSize }

    /// Reads a log. A last line that was cut short is left out.
    /// - Throws: `WorkerError` that names file and line.
    init(path: String) throws(WorkerError) {
        self.path = path
        let text: Data
        do {
            text = try Data(contentsOf: URL(fileURLWithPath: path))
        } catch {
            throw .failed("cannot read \(path): \(error.localizedDescription); check --placement-replay")
        }
        var lines = text.split(separator: 0x0a, omittingEmptySubsequences: false)
        lines.removeLast()
        for (index, line) in lines.enumerated() {
            do {
                try add(JSONDecoder().decode(Change.self, from: line))
            } catch {
                let reason = (error as? DecodingError).map { _ in "it is no line of a placement log" } ?? "\(error)"
                throw .failed("\(path), line \(index + 1): \(reason); check --placement-replay")
            }
        }
        guard !changes.isEmpty else {
            throw .failed("\(path) has no line; it takes one that --placement-log has written")
        }
    }

    private mutating func add(_ change: Change) throws {
        func require(_ condition: Bool, _ message: String) throws {
            if !condition { throw PlacementError.invalidPlan(message) }
        }
        let layerCount = changes.isEmpty ? change.layers.count : experts.count
        try require((1...1 << 53).contains(change.step), "step \(change.step) cannot be")
        try require(
            !change.layers.isEmpty && change.layers.count == change.experts.count
                && zip(change.layers, change.layers.dropFirst()).allSatisfy { $0 < $1 }
                && change.layers[0] >= 0 && change.layers[change.layers.count - 1] < layerCount,
            "the layers \(change.layers) are not some of \(layerCount), in their order, with experts for each")
        if change.layers.count == layerCount {
            changes.removeAll { $0.step >= change.step }
            experts = change.experts
        } else {
            for (layer, placements) in zip(change.layers, change.experts) { experts[layer] = placements }
        }
        if let last = changes.last {
            try require(change.step >= last.step, "step \(change.step) comes after step \(last.step)")
            try require(change.worldSize == last.worldSize, "\(change.worldSize) ranks follow \(last.worldSize)")
        }
        // Meshes of ranks that are none.
        _ = try PlacementPlan(worldSize: change.worldSize, layers: experts.map { LayerPlacement(experts: $0) })
        changes.append(change)
    }

    /// Where all layers are in step `step`, under the revision in force; of the first line, when that is later.
    func placement(inStep step: Int, nodes: [Int]) throws -> PlacementPlan {
        var experts = changes[0].experts
        var revision = changes[0].revision
        for change in changes where change.step <= step {
            for (layer, placements) in zip(change.layers, change.experts) { experts[layer] = placements }
            revision = change.revision
        }
        return try PlacementPlan(
            revision: revision, worldSize: worldSize, nodes: nodes,
            layers: experts.map { LayerPlacement(experts: $0) })
    }
}
