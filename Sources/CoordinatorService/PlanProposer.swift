import ControlProtocol
import CoordinatorCore
import ExpertPlacement

/// Answers operators who propose plans: examines the plan beside the state machine, which then decides.
struct PlanProposer: Sendable {
    let store: CoordinatorStore
    let processor: ChangeProcessor
    let planning: any PlanningService

    func answer(_ request: ProposePlacement) async throws -> PlacementProposed {
        let run = try await store.runName(request.run)
        guard let state = try await store.state(of: run) else { throw ControlError.unknownRun(run) }
        var submission = PlanSubmission(
            run: run, plan: state.plan, prediction: PlanPrediction(), from: state.plan.revision,
            dryRun: request.dryRun, who: request.who, why: request.why)
        if request.replan {
            guard let proposal = try await replan(state) else {
                return PlacementProposed(
                    run: run, revision: nil, plan: nil, prediction: nil, why: "the planner found no better plan")
            }
            submission.plan = proposal.plan
            submission.prediction = proposal.prediction
            submission.why += "; " + proposal.why
        } else {
            if let revision = request.rollbackTo {
                submission.plan = try await store.placement(ShowPlacement(run: run, revision: revision)).plan
                submission.why = "back to revision \(revision): \(request.why)"
            } else if let plan = request.plan {
                submission.plan = plan
            }
            submission.prediction = try await examine(submission.plan, state)
        }
        switch await processor.answer(to: .proposePlan(submission)) {
        case .placementProposed(let reply): return reply
        case .refused(let error): throw error
        default: throw ControlError(.protocolViolation, "the coordinator has no answer")
        }
    }

    private func replan(_ state: RunState) async throws -> PlanProposal? {
        guard !state.planning.frozen else {
            throw ControlError(
                .planningFrozen, "planning of run \(state.run) is frozen; see moe-ctl placement unfreeze")
        }
        if let flight = state.planInFlight {
            throw ControlError(
                .conflict, "revision \(flight.plan.revision) of run \(state.run) is \(flight.state.rawValue) already")
        }
        do {
            return try await planning.propose(of: state.run, PlanningContext(state))
        } catch {
            throw Self.unsuitable(error)
        }
    }

    private func examine(_ plan: PlacementPlan, _ state: RunState) async throws -> PlanPrediction {
        do {
            return try await planning.examine(plan, of: state.run, PlanningContext(state))
        } catch {
            throw Self.unsuitable(error)
        }
    }

    private static func unsuitable(_ error: any Error) -> any Error {
        guard let error = error as? PlacementError else { return error }
        return ControlError(.unsuitablePlan, "\(error)")
    }
}
