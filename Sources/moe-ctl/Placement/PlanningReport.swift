import ControlProtocol
import ExpertPlacement
import Listings

/// What operators have said about a run's planning, for people to read.
enum PlanningReport {
    static func table(_ plans: Plans) -> Table {
        .details(lines(plans.run, plans.frozen, plans.pinned))
    }

    static func table(_ state: PlanningState, isDryRun: Bool) -> Table {
        var lines = lines(state.run, state.frozen, state.pinned)
        if let revision = state.withdrawnRevision { lines.append(("Withdrawn", "revision \(revision)")) }
        return .details(lines, isDryRun: isDryRun)
    }

    private static func lines(_ run: String, _ frozen: Bool, _ pinned: [ExpertID]) -> [(name: String, value: String)] {
        let layers = Dictionary(grouping: pinned, by: \.layer).sorted { $0.key < $1.key }.map { layer, experts in
            "\(layer):\(Readable.ranges(experts.map(\.expert).sorted()))"
        }
        return [
            ("Run", run), ("Planning", frozen ? "frozen" : "on"),
            ("Pinned", layers.isEmpty ? "no experts" : layers.joined(separator: " ")),
        ]
    }
}
