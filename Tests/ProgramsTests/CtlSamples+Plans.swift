import ControlProtocol
import ExpertPlacement

/// The plans of the run `shakespeare`: one proposed, one rejected, the active one and two before it.
extension CtlSamples {
    private static let planner = "allocator load-balanced"

    var plans: [PlanSummary] {
        [
            PlanSummary(
                revision: 5, state: .proposed, incarnation: 2, createdAt: ago(minutes: 11), who: Self.planner,
                why: Self.predictedWhy, switchedLayers: 0, layers: 3, prediction: prediction),
            PlanSummary(
                revision: 4, state: .rejected, incarnation: 2, createdAt: ago(minutes: 20), who: "operator ada on desk",
                why: "an operator's plan from mine.json",
                reason: "rank 3 would need 9437184 bytes for its experts under the plan, over its limit of 8388608",
                switchedLayers: 0, layers: 3, endedAt: ago(minutes: 20), prediction: prediction),
            PlanSummary(
                revision: 3, state: .active, incarnation: 2, createdAt: ago(minutes: 42), who: Self.planner,
                why: Self.predictedWhy, acceptedStep: 40, switchedLayers: 3, layers: 3, activatedAt: ago(minutes: 41),
                prediction: prediction, bytes: 3_145_728, seconds: 0.0123, verifySeconds: 0.0021,
                observation: PlanObservation(
                    secondsBefore: 0.0195, secondsAfter: 0.0113, balanceBefore: 0.5525, balanceAfter: 0.9625)),
            PlanSummary(
                revision: 2, state: .superseded, incarnation: 2, createdAt: ago(minutes: 50),
                who: "rank 0 on node-1, process 4711", why: "the world size went from 2 to 4", acceptedStep: 0,
                switchedLayers: 3, layers: 3, activatedAt: ago(minutes: 50), endedAt: ago(minutes: 41)),
            PlanSummary(
                revision: 1, state: .superseded, incarnation: 1, createdAt: ago(hours: 100, minutes: 10),
                who: "rank 0 on node-1, process 1234", why: "the run's first plan", acceptedStep: 0, switchedLayers: 3,
                layers: 3, activatedAt: ago(hours: 100, minutes: 10), endedAt: ago(minutes: 50)),
        ]
    }

    private static let predictedWhy =
        "the ranks' balance is to go from 55 % to 98 % and to take 42 % off the experts' time"

    var prediction: PlanPrediction {
        PlanPrediction(
            secondsBefore: 0.0194, secondsAfter: 0.0112, balanceBefore: 0.5475, balanceAfter: 0.9815,
            replicaNeurons: 512, homeNeurons: 512, moveSeconds: 0.0094, bytes: 3_145_728, forecastError: 0.03)
    }

    var pinned: [ExpertID] {
        [
            ExpertID(layer: 0, expert: 1), ExpertID(layer: 0, expert: 2), ExpertID(layer: 0, expert: 3),
            ExpertID(layer: 2, expert: 0),
        ]
    }

    /// Experts whole on a rank, as the active plan found them.
    func planBefore() throws -> PlacementPlan {
        let layers = try (0..<3).map { layer in
            LayerPlacement(
                experts: try [256, 256, 256, 257].enumerated().map { expert, width in
                    let rank = layer == 2 && expert == 1 ? 3 : expert
                    return try ExpertPlacement(
                        width: width, mesh: DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [rank]))
                }, switchStep: 0)
        }
        return try PlacementPlan(revision: 2, worldSize: 4, nodes: [0, 0, 1, 1], layers: layers)
    }

    /// The plan of a revision, with what is said of it.
    func placement(revision: Int?, layer: Int?) throws -> Placement {
        var placement = try placement(layer: layer)
        guard let revision, revision != 3 else { return placement }
        guard let summary = plans.first(where: { $0.revision == revision }) else {
            throw ControlError(.unknownRevision, "revision \(revision) of run \"shakespeare\" is not known")
        }
        placement.state = summary.state
        placement.createdAt = summary.createdAt
        placement.who = summary.who
        placement.why = summary.why
        var plan = try planBefore()
        plan.revision = revision
        placement.plan = plan
        return placement
    }

    func answer(_ request: ProposePlacement) throws -> PlacementProposed {
        if let revision = request.rollbackTo { _ = try placement(revision: revision, layer: nil) }
        let plan = try request.plan ?? planBefore()
        return PlacementProposed(
            run: "shakespeare", revision: request.dryRun ? nil : 6, plan: plan, prediction: prediction,
            why: request.replan ? Self.predictedWhy : request.why)
    }

    func answer(_ request: ControlPlanning) -> PlanningState {
        PlanningState(
            run: "shakespeare", frozen: request.freeze ?? false,
            pinned: Set(pinned).union(request.pin).subtracting(request.unpin).sorted(),
            withdrawnRevision: request.freeze == true ? 5 : nil)
    }
}
