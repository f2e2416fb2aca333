/// Where a plan stands in its life. At every moment one plan of a run is active, and at most one is in flight.
public enum PlanState: String, Codable, Sendable, CaseIterable {
    /// Offered to rank 0.
    case proposed
    /// All ranks agreed on the step from which they apply it.
    case accepted
    /// Some of its layers have switched.
    case applying
    case active
    /// Another plan became active after it.
    case superseded
    /// A rank refused it.
    case rejected
    /// The job was started again before all layers had switched.
    case abandoned
    /// Taken back before the ranks had agreed.
    case withdrawn

    /// On its way to become active.
    public var isInFlight: Bool { [.proposed, .accepted, .applying].contains(self) }

    /// Whether a plan may go from here to `next`.
    public func allows(_ next: PlanState) -> Bool {
        switch self {
        case .proposed: [.accepted, .rejected, .withdrawn].contains(next)
        case .accepted: [.applying, .active, .abandoned].contains(next)
        case .applying: [.active, .abandoned].contains(next)
        case .active: next == .superseded
        // The ranks had taken it before they could hear.
        case .withdrawn: next == .accepted
        case .superseded, .rejected, .abandoned: false
        }
    }
}
