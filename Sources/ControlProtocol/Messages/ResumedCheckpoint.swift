import ExpertPlacement

/// The checkpoint that a start of a run goes on from. It may know of numbers that the coordinator does not, whose database may be
/// another one by now.
public struct ResumedCheckpoint: Codable, Hashable, Sendable {
    /// The largest incarnation that the checkpoint's directory knows.
    public var incarnation: Int
    /// The largest revision that a plan of the run has had.
    public var revision: Int
    /// Steps done.
    public var step: Int
    /// The plan to begin with where the run is not known; nil: the allocator's first.
    public var plan: PlacementPlan?

    public init(incarnation: Int, revision: Int, step: Int, plan: PlacementPlan? = nil) {
        self.incarnation = incarnation
        self.revision = revision
        self.step = step
        self.plan = plan
    }

    func validate(_ check: Validation) throws(ControlError) {
        // Half of all numbers stay for what follows.
        let numbers = 0...check.limits.integer / 2
        try check.integer(incarnation, "checkpoint.incarnation", in: numbers)
        try check.integer(revision, "checkpoint.revision", in: numbers)
        try check.count(step, "checkpoint.step")
        if let plan { try check.plan(plan) }
    }
}
