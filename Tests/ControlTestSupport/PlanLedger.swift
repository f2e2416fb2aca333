import ControlProtocol
import CoordinatorCore
import ExpertPlacement

/// What became durable of a run's plans, and what was wrong with it.
public struct PlanLedger: Hashable, Sendable {
    public struct Arrow: Hashable, Sendable, Comparable, CustomStringConvertible {
        let from: PlanState?
        let to: PlanState
        public var description: String { "\(from.map(\.rawValue) ?? "nothing") to \(to.rawValue)" }
        public static func < (a: Arrow, b: Arrow) -> Bool { a.description < b.description }
    }

    public internal(set) var problems = [String]()
    /// How often plans went along each arrow.
    public private(set) var arrows = [Arrow: Int]()
    private var plans = [Int: PlanInFlight]()
    /// As they were when their run was deleted.
    private var deletedPlans = [Int: PlanInFlight]()
    /// Whether the run is there no more.
    private(set) var isDeleted = false
    private var settings = PlanningSettings()
    private var eventCount = 0
    private(set) var lastRevision = 0
    /// Changes of states without an event.
    private var untold = 0

    /// The arrows of the design's picture, and those that reconcile what ranks did with a record that came too late.
    public static let allArrows: Set<Arrow> = [
        Arrow(from: nil, to: .active), Arrow(from: nil, to: .proposed), Arrow(from: .proposed, to: .accepted),
        Arrow(from: .proposed, to: .rejected), Arrow(from: .proposed, to: .withdrawn),
        Arrow(from: .accepted, to: .applying), Arrow(from: .accepted, to: .active),
        Arrow(from: .accepted, to: .abandoned), Arrow(from: .applying, to: .active),
        Arrow(from: .applying, to: .abandoned), Arrow(from: .active, to: .superseded),
        Arrow(from: .withdrawn, to: .accepted),
    ]

    var active: Int? { plans.first { $0.value.state == .active }?.key }
    var inFlight: Int? { plans.first { $0.value.state.isInFlight }?.key }

    func plan(_ revision: Int) -> PlanInFlight? { plans[revision] ?? deletedPlans[revision] }

    mutating func apply(_ change: Change) {
        switch change {
        case .addPlan(let record):
            let revision = record.plan.revision
            if revision != lastRevision + 1 { problems.append("revision \(revision) after \(lastRevision)") }
            lastRevision = max(lastRevision, revision)
            isDeleted = false
            plans[revision] = PlanInFlight(plan: record.plan, state: record.state, origin: record.origin)
            note(Arrow(from: nil, to: record.state), revision)
        case .setPlanState(_, let revision, let state, _, _):
            note(Arrow(from: plans[revision]?.state, to: state), revision)
            plans[revision]?.state = state
        case .setPlanning(_, let settings): self.settings = settings
        case .addEvent(_, let event):
            eventCount += 1
            if event.revision != nil { untold -= 1 }
        case .deleteRun:
            deletedPlans.merge(plans) { $1 }
            plans = [:]
            settings = PlanningSettings()
            isDeleted = true
        default: break
        }
        if plans.values.count(where: { $0.state == .active }) > 1 { problems.append("two active plans") }
        if plans.values.count(where: { $0.state.isInFlight }) > 1 { problems.append("two plans in flight") }
    }

    private mutating func note(_ arrow: Arrow, _ revision: Int) {
        arrows[arrow, default: 0] += 1
        untold += 1
        if !Self.allArrows.contains(arrow) { problems.append("revision \(revision) went from \(arrow)") }
    }

    /// What must hold after each transaction.
    mutating func check() {
        if active == nil, !isDeleted { problems.append("no active plan") }
        if untold != 0 { problems.append("\(untold) more changes of plans than events about them") }
    }

    mutating func check(offered plan: PlacementPlan) {
        guard let known = plans[plan.revision] else {
            problems.append("revision \(plan.revision) was offered before it was durable")
            return
        }
        if known.state != .proposed { problems.append("revision \(plan.revision) was offered, but is \(known.state)") }
        if known.plan != plan { problems.append("revision \(plan.revision) is two plans") }
    }

    /// Everything has been told: the record is what the ranks have.
    mutating func compare(with ranks: SimulatedRanks) {
        if active != ranks.revision {
            problems.append("the ranks are under \(ranks.revision), the record says \(String(describing: active))")
        }
        if let plan = ranks.planUnderWay, plans[plan.revision]?.state != .accepted,
            plans[plan.revision]?.state != .applying
        {
            problems.append(
                "the ranks apply \(plan.revision), which is \(String(describing: plans[plan.revision]?.state))")
        }
    }
}
