import ExpertPlacement
import Foundation
import Yams

/// A placement plan in a file, `-` for standard input: as JSON, or YAML when the name ends so; by itself, or under `plan` in what
/// `placement show` and `placement plan` print.
enum PlanFile {
    static func read(_ path: String) throws -> PlacementPlan {
        let data = try InputFile.read(path)
        do {
            let container: Container
            if [".yaml", ".yml"].contains(where: path.hasSuffix) {
                container = try YAMLDecoder().decode(Container.self, from: data)
            } else {
                container = try JSONDecoder().decode(Container.self, from: data)
            }
            return container.plan
        } catch {
            let (flaw, remedy) =
                InputFile.cause(error) is PlacementError
                ? (" that holds", "correct that, or begin with what placement show -o json prints")
                : ("", "placement plan --loads -o json makes one, and placement show -o json prints the active one")
            throw CommandFailure(
                "\(InputFile.name(path)) has no placement plan\(flaw): \(InputFile.reason(error)); \(remedy)")
        }
    }

    private struct Container: Decodable {
        let plan: PlacementPlan

        private enum CodingKeys: String, CodingKey { case plan, layer }

        init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            guard values.contains(.plan) else {
                plan = try PlacementPlan(from: decoder)
                return
            }
            if let layer = try values.decodeIfPresent(Int.self, forKey: .layer) {
                throw PlacementError.invalidPlan("this is layer \(layer) alone; print all layers, without --layer")
            }
            plan = try values.decode(PlacementPlan.self, forKey: .plan)
        }
    }
}
