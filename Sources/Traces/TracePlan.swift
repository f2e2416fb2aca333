import ControlProtocol
import ExpertPlacement

/// A plan of the run that was recorded: what listings tell of it, and the plan.
public struct TracePlan: Hashable, Sendable, Codable {
    public var summary: PlanSummary
    public var plan: PlacementPlan

    public init(summary: PlanSummary, plan: PlacementPlan) {
        self.summary = summary
        self.plan = plan
    }

    private enum CodingKeys: String, CodingKey { case plan }

    public init(from decoder: any Decoder) throws {
        summary = try PlanSummary(from: decoder)
        plan = try decoder.container(keyedBy: CodingKeys.self).decode(PlacementPlan.self, forKey: .plan)
    }

    public func encode(to encoder: any Encoder) throws {
        try summary.encode(to: encoder)
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(plan, forKey: .plan)
    }
}
