import ControlProtocol
import ExpertPlacement

/// The ranks of one incarnation, as rank 0 speaks for them: they take plans when they like, and tell later.
struct SimulatedRanks {
    let run: String
    let incarnation: Int
    /// Of the plan that all layers are under.
    private(set) var revision: Int
    /// What the coordinator has not acknowledged, oldest first.
    var messages = [PlanProgress]()
    private var offered: PlacementPlan?
    private(set) var planUnderWay: PlacementPlan?
    private var switched = [LayerSwitch]()
    private var step = 1
    private var highestKnown: Int

    init(run: String, incarnation: Int, revision: Int) {
        self.run = run
        self.incarnation = incarnation
        self.revision = revision
        highestKnown = revision
    }

    mutating func offer(_ plan: PlacementPlan?) {
        guard planUnderWay == nil else { return }
        offered = plan.flatMap { $0.revision > highestKnown ? $0 : nil }
    }

    mutating func takePlan(refuses: Bool) {
        guard planUnderWay == nil, let plan = offered else { return }
        offered = nil
        highestKnown = plan.revision
        step += 1
        if refuses {
            tell(.rejected, plan.revision, reason: "no memory")
        } else {
            planUnderWay = plan
            switched = []
            tell(.accepted, plan.revision)
        }
    }

    mutating func advance(layers: Int) {
        guard let plan = planUnderWay else { return }
        step += 1
        for layer in switched.count..<min(plan.layers.count, switched.count + layers) {
            switched.append(LayerSwitch(layer: layer, step: step))
        }
        if switched.count == plan.layers.count {
            planUnderWay = nil
            revision = plan.revision
            tell(.applied, plan.revision)
        } else {
            tell(.applying, plan.revision)
        }
    }

    private mutating func tell(_ transition: PlanProgress.Transition, _ revision: Int, reason: String? = nil) {
        let layers = transition == .applying || transition == .applied ? switched : []
        messages.append(
            PlanProgress(
                run: run, incarnation: incarnation, revision: revision, transition: transition, step: step,
                switched: layers, bytes: 100 * layers.count, reason: reason))
    }
}
