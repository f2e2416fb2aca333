import ControlProtocol
import ExpertPlacement

/// What the coordinator knows of a run, as far as decisions depend on it. All of it is in the database too.
public struct RunState: Hashable, Sendable {
    /// A rank of the current incarnation.
    public struct Worker: Hashable, Sendable {
        public var host: String
        public var processID: Int
        public var reports: SequenceWindow

        public init(host: String, processID: Int, reports: SequenceWindow = SequenceWindow()) {
            self.host = host
            self.processID = processID
            self.reports = reports
        }
    }

    /// A plan may have megabytes.
    public static let mostRejectedPlans = 8

    public let run: String
    public var model: ExpertModel
    public var allocator: String
    /// The ranks of the current incarnation, with what they said of themselves.
    public var cluster: Cluster
    /// Steps that a report covers; nil: not said.
    public var interval: Int?
    /// The active plan. Its world size and nodes are the run's.
    public var plan: PlacementPlan
    public var planInFlight: PlanInFlight?
    /// Plans that the ranks of the current incarnation rejected and that came after the active one, by their revisions: the last
    /// `mostRejectedPlans`.
    public var rejectedPlans: [PlacementPlan]
    /// Plans that were proposed to the current incarnation and are in flight no more.
    public var pastPlans: [Int: PlanState]
    public var planning: PlanningSettings
    /// The highest revision given out so far, as far as is known.
    public var lastRevision: Int
    /// The current incarnation.
    public var incarnation: Int
    /// The highest incarnation that may have been given out; 0: the current one is.
    public var usedIncarnation: Int
    /// The incarnation that each start was given.
    public var registrations: [String: Int]
    /// How the current incarnation ended; nil while nothing was said.
    public var outcome: FinishRun.Outcome?
    public var archivedAt: Timestamp?
    /// Of the last checkpoint that the current incarnation told of.
    public var checkpointStep: Int?
    public var workers: [Int: Worker]
    /// Reports received so far, also before a deletion; each stored one has the number it came with, from 1.
    public var reportCount: Int

    public init(
        run: String, model: ExpertModel, allocator: String, cluster: Cluster, interval: Int? = nil,
        plan: PlacementPlan, planInFlight: PlanInFlight? = nil, rejectedPlans: [PlacementPlan] = [],
        pastPlans: [Int: PlanState] = [:], planning: PlanningSettings = PlanningSettings(), lastRevision: Int,
        incarnation: Int, usedIncarnation: Int = 0, registrations: [String: Int],
        outcome: FinishRun.Outcome? = nil, archivedAt: Timestamp? = nil, checkpointStep: Int? = nil,
        workers: [Int: Worker] = [:], reportCount: Int = 0
    ) {
        self.run = run
        self.model = model
        self.allocator = allocator
        self.cluster = cluster
        self.interval = interval
        self.plan = plan
        self.planInFlight = planInFlight
        self.rejectedPlans = rejectedPlans
        self.pastPlans = pastPlans
        self.planning = planning
        self.lastRevision = lastRevision
        self.incarnation = incarnation
        self.usedIncarnation = usedIncarnation
        self.registrations = registrations
        self.outcome = outcome
        self.archivedAt = archivedAt
        self.checkpointStep = checkpointStep
        self.workers = workers
        self.reportCount = reportCount
    }
}
