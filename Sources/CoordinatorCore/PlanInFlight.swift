import ControlProtocol
import ExpertPlacement

/// A plan on its way to become active.
public struct PlanInFlight: Hashable, Sendable {
    public var plan: PlacementPlan
    /// `proposed`, `accepted` or `applying`.
    public var state: PlanState
    public var origin: PlanOrigin
    /// The first step with a layer under the plan; nil while it is proposed.
    public var acceptedStep: Int?
    /// Layers that are under the plan by now.
    public var switched: [LayerSwitch]

    public init(
        plan: PlacementPlan, state: PlanState = .proposed, origin: PlanOrigin, acceptedStep: Int? = nil,
        switched: [LayerSwitch] = []
    ) {
        self.plan = plan
        self.state = state
        self.origin = origin
        self.acceptedStep = acceptedStep
        self.switched = switched
    }
}

/// Where a plan came from.
public enum PlanOrigin: String, Hashable, Sendable, CaseIterable {
    /// It was active from the registration of an incarnation on.
    case registration
    case planner
    case `operator`
}

extension PlacementPlan {
    /// The plan with the steps from which its layers are under it.
    package func with(_ switches: [LayerSwitch]) -> PlacementPlan {
        guard !switches.isEmpty else { return self }
        var layers = layers
        for change in switches where layers.indices.contains(change.layer) {
            layers[change.layer].switchStep = change.step
        }
        return replacing(layers)
    }

    /// The plan as if none of its layers had switched.
    var withoutSwitches: PlacementPlan {
        replacing(layers.map { LayerPlacement(experts: $0.experts) })
    }

    /// Whether all experts are where `other` has them.
    func hasSamePlacement(as other: PlacementPlan) -> Bool {
        layers.map(\.experts) == other.layers.map(\.experts)
    }

    /// The experts that `other` has elsewhere, among `experts`.
    func moved(_ experts: some Sequence<ExpertID>, from other: PlacementPlan) -> [ExpertID] {
        experts.filter { placement(of: $0) != other.placement(of: $0) }
    }

    private func placement(of expert: ExpertID) -> ExpertPlacement? {
        guard layers.indices.contains(expert.layer), layers[expert.layer].experts.indices.contains(expert.expert) else {
            return nil
        }
        return layers[expert.layer].experts[expert.expert]
    }

    private func replacing(_ layers: [LayerPlacement]) -> PlacementPlan {
        // The same meshes in the same world are valid again.
        (try? PlacementPlan(revision: revision, worldSize: worldSize, nodes: nodes, layers: layers)) ?? self
    }
}
