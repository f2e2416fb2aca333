/// Rank 0 says what the ranks did with a plan. Its messages about a plan are sent in order, each until it is acknowledged; sent
/// again, they change nothing.
public struct PlanProgress: ControlRequest {
    public static let type = "plan_progress"
    public typealias Reply = Acknowledged

    public enum Transition: String, Codable, Sendable, CaseIterable {
        /// All ranks agreed; `step` is the first with a layer under the new plan.
        case accepted
        /// Layers have switched; `step` is the last step before which some did.
        case applying
        /// All layers have switched: the plan is the active one.
        case applied
        /// A rank refuses the plan, for `reason`; nothing was changed.
        case rejected
    }

    public var run: String
    public var incarnation: Int
    /// Of the plan that this is about.
    public var revision: Int
    public var transition: Transition
    public var step: Int
    /// All layers that are under the new plan by now.
    public var switched: [LayerSwitch]
    /// What the switch has taken so far: bytes that left all ranks together, rank 0's seconds, and seconds of comparing
    /// checksums among them.
    public var bytes: Int
    public var seconds: Double
    public var verifySeconds: Double
    /// Why, when rejected.
    public var reason: String?

    public init(
        run: String, incarnation: Int, revision: Int, transition: Transition, step: Int, switched: [LayerSwitch] = [],
        bytes: Int = 0, seconds: Double = 0, verifySeconds: Double = 0, reason: String? = nil
    ) {
        self.run = run
        self.incarnation = incarnation
        self.revision = revision
        self.transition = transition
        self.step = step
        self.switched = switched
        self.bytes = bytes
        self.seconds = seconds
        self.verifySeconds = verifySeconds
        self.reason = reason
    }

    private enum CodingKeys: String, CodingKey {
        case run, incarnation, revision, transition, step, switched, bytes, seconds, reason
        case verifySeconds = "verify_seconds"
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        try check.runName(run)
        try check.count(incarnation, "incarnation")
        try check.integer(revision, "revision", in: 1...limits.integer)
        try check.count(step, "step")
        try check.integer(switched.count, "the number of switched layers", in: 0...limits.layers)
        for layer in switched {
            try check.integer(layer.layer, "a switched layer", in: 0...limits.layers - 1)
            try check.count(layer.step, "the step of a switched layer")
        }
        guard Set(switched.map(\.layer)).count == switched.count else {
            throw ControlError(.badRequest, "switched names a layer twice")
        }
        try check.count(bytes, "bytes")
        try check.seconds(seconds, "seconds")
        try check.seconds(verifySeconds, "verify_seconds")
        if let reason { try check.text(reason, "reason", bytes: limits.reasonBytes, mayBeEmpty: true) }
    }
}

/// A layer that has gone over to a new plan.
public struct LayerSwitch: Codable, Hashable, Sendable {
    /// Index among the layers with experts, from 0.
    public var layer: Int
    /// Its first step under the new plan.
    public var step: Int

    public init(layer: Int, step: Int) {
        self.layer = layer
        self.step = step
    }
}
