import ControlProtocol
import ExpertPlacement
import Foundation

/// What such a program answers (`schemas/exec_answer.json`).
struct ExecAnswer: Hashable, Sendable, Codable {
    /// Those of the new plan; nil: no change.
    var layers: [LayerPlacement]?

    /// - Throws: `PlacementError.invalidPlan` telling what is wrong with the program's output.
    init(reading output: Data) throws(PlacementError) {
        guard !output.isEmpty else { throw .invalidPlan("it wrote nothing to standard output") }
        do {
            let decoder = JSONDecoder()
            self = try decoder.decode(Self.self, from: output)
        } catch let error as PlacementError {
            throw error
        } catch let error as DecodingError {
            throw .invalidPlan("its output is not as schemas/exec_answer.json says: \(error.where)")
        } catch {
            throw .invalidPlan("its output is not as schemas/exec_answer.json says: \(error)")
        }
    }

    /// The plan of these layers.
    /// - Throws: `PlacementError` when it is not one for this model on this cluster.
    func plan(model: ExpertModel, cluster: Cluster, limits: Limits) throws(PlacementError) -> PlacementPlan? {
        guard let layers else { return nil }
        let ranks = layers.reduce(0) { $0 + $1.listedRanks }
        guard ranks <= limits.planRanks else {
            throw .invalidPlan("the meshes list \(ranks) ranks, over the limit of \(limits.planRanks) (plan ranks)")
        }
        let plan = try PlacementPlan(
            worldSize: cluster.worldSize, nodes: cluster.nodes,
            layers: layers.map { LayerPlacement(experts: $0.experts) })
        try plan.validate(for: model, worldSize: cluster.worldSize)
        return plan
    }

    init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        guard values.contains(.layers) else {
            throw DecodingError.keyNotFound(
                CodingKeys.layers, .init(codingPath: [], debugDescription: "layers is missing"))
        }
        layers = try values.decodeIfPresent([LayerPlacement].self, forKey: .layers)
    }

    private enum CodingKeys: String, CodingKey { case layers }
}

extension DecodingError {
    /// In one line.
    fileprivate var `where`: String {
        let (context, what): (Context, String?) =
            switch self {
            case .keyNotFound(let key, let context): (context, "\(key.stringValue) is missing")
            case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
                (context, nil)
            @unknown default: (Context(codingPath: [], debugDescription: "it cannot be read"), nil)
            }
        let path = context.codingPath.map { key in key.intValue.map { "[\($0)]" } ?? ".\(key.stringValue)" }.joined()
        return (path.isEmpty ? "" : path.drop { $0 == "." } + ": ") + (what ?? context.debugDescription)
    }
}
