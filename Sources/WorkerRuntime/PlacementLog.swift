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
    private(set) var changes = [Change]()
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
        let layerCount = changes.first?.layers.count ?? change.layers.count
        try require((1...1 << 53).contains(change.step), "step \(change.step) cannot be")
        try require(
            !change.layers.isEmpty && change.layers.count == change.experts.count
                && zip(change.layers, change.layers.dropFirst()).allSatisfy { $0 < $1 }
                && change.layers[0] >= 0 && change.layers[change.layers.count - 1] < layerCount,
            "the layers \(change.layers) are not some of \(layerCount), in their order, with experts for each")
        let isStart = change.layers.count == layerCount
        try require(isStart || !changes.isEmpty, "the first line must have all layers")
        if isStart {
            changes.removeAll { $0.step >= change.step }
            try require(!changes.isEmpty || change.layers == Array(0..<layerCount), "a layer is missing")
        }
        if let last = changes.last {
            try require(change.step >= last.step, "step \(change.step) comes after step \(last.step)")
            try require(change.worldSize == last.worldSize, "\(change.worldSize) ranks follow \(last.worldSize)")
        }
        changes.append(change)
        // Meshes of ranks that are none.
        _ = try placement(before: change.step + 1)
    }

    /// Where all layers are in step `step - 1`, under the revision in force; of the first line, when that is later.
    private func placement(before step: Int) throws -> PlacementPlan {
        var layers = [Int: [ExpertPlacement]]()
        var revision = 0
        for (index, change) in changes.enumerated() where index == 0 || change.step < step {
            for (layer, experts) in zip(change.layers, change.experts) { layers[layer] = experts }
            revision = change.revision
        }
        return try PlacementPlan(
            revision: revision, worldSize: worldSize,
            layers: layers.sorted { $0.key < $1.key }.map { LayerPlacement(experts: $0.value) })
    }

    /// Where all layers are in step `step`.
    func placement(inStep step: Int) throws -> PlacementPlan { try placement(before: step + 1) }
}
