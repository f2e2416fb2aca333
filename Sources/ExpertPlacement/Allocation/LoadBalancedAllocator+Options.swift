extension LoadBalancedAllocator {
    /// How `load-balanced` decides.
    public struct Options: Hashable, Sendable {
        /// Which meshes it may choose.
        public enum Shapes: String, Hashable, Sendable, CaseIterable {
            /// Whole experts (TP 1), any number of replicas.
            case replicas
            /// Also experts spread over all ranks (TP), where exchange is cheap enough.
            case any
        }

        public static let names = [
            "shapes", "slots", "groups", "window", "jump", "caution", "life", "margin", "minimum-gain",
        ]

        public var shapes = Shapes.any
        /// Experts a rank holds in a layer, at most; nil: what memory leaves.
        public var slots: Int?
        /// Groups of experts that stay on a node each.
        public var groups = 1
        /// Reports that the forecast is the mean of, at most.
        public var window = 16
        /// Total variation of a layer's load that counts as a jump.
        public var jump = 0.1
        /// z: deviations of the forecast added to a rank's mean.
        public var caution = 1.0
        /// Steps that a plan is expected to last.
        public var life = 100.0
        /// What a move has to save over its life, in times its cost.
        public var margin = 2.0
        /// Least relative gain of predicted time for which a plan is proposed at all.
        public var minimumGain = 0.01

        public init() {}

        /// - Throws: `PlacementError.invalidOption` when a value is out of range.
        public init(_ options: AllocatorOptions) throws(PlacementError) {
            let defaults = Options()
            shapes = try options.choice("shapes", default: defaults.shapes)
            slots = try options.integer("slots", in: 1...1_000_000)
            groups = try options.integer("groups", in: 1...1_000_000) ?? defaults.groups
            window = try options.integer("window", in: 1...1000) ?? defaults.window
            jump = try options.number("jump", default: defaults.jump, in: 0...1)
            caution = try options.number("caution", default: defaults.caution, in: 0...10)
            life = try options.number("life", default: defaults.life, in: 1...1e9)
            margin = try options.number("margin", default: defaults.margin, in: 0...1e6)
            minimumGain = try options.number("minimum-gain", default: defaults.minimumGain, in: 0...1)
        }
    }
}
