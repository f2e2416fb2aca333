/// What operators have said about the planning of a run.
public struct PlanningSettings: Hashable, Sendable, Codable {
    /// No plan is proposed.
    public var frozen: Bool
    /// Experts whose placement no planner changes. Operators' own plans may.
    public var pinned: Set<ExpertID>

    public init(frozen: Bool = false, pinned: Set<ExpertID> = []) {
        self.frozen = frozen
        self.pinned = pinned
    }
}
