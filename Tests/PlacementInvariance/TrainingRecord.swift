import ExpertParallelism

/// What a run of an `InvarianceCase` did.
public struct TrainingRecord: Sendable {
    /// By step.
    public var losses = [Double]()
    public var auxiliaryLosses = [Double]()
    public var gradientNorms = [Double]()
    /// By micro-batch: (token, expert) pairs, [layer][expert].
    public var expertLoads = [[[Int]]]()
    /// By micro-batch: pairs that found no place, in all layers.
    public var droppedTokens = [Int]()
    /// The first step's, of all ranks and micro-batches.
    public var gradients = [String: [Float]]()
    /// After the last step.
    public var weights = [String: [Float]]()
    /// A number for each (step, layer, token, expert) that routers chose; none when experts stay in the model.
    public var choices = [Int]()
    /// Rows that this rank's experts computed.
    public var rows = 0
    /// Bytes that this rank sent.
    public var bytesSent = 0

    /// Steps whose loss and gradients were found to be those of one process, and those where routers chose otherwise.
    public var comparedSteps = 0
    public var flippedSteps = 0
    /// Gradients of compared steps that were held to what rounding does to them.
    public var roundedGradients = 0
    /// What the experts' moves took, on this rank, and how many layers switched.
    public var migration = MigrationReport()

    /// How many choices of `other` this run did not make.
    public func flips(from other: TrainingRecord) -> Int {
        Set(other.choices).subtracting(choices).count
    }

    /// Whether all numbers are those of `other`, to the bit.
    public func isExactly(_ other: TrainingRecord) -> Bool {
        losses == other.losses && auxiliaryLosses == other.auxiliaryLosses && gradientNorms == other.gradientNorms
            && expertLoads == other.expertLoads && gradients == other.gradients && weights == other.weights
    }

    /// Checks that losses and gradients of the first step, and the weights after it when it is the only one, are those of
    /// `reference`.
    /// - Parameter tolerance: relative; for a gradient, to the largest entry of its tensor.
    /// - Throws: `InvarianceFailure` that names what differs.
    public func check(against reference: TrainingRecord, tolerance: Double) throws {
        try checkFirstStep(against: reference, tolerance: tolerance)
        if losses.count == 1 { try checkUpdatedWeights(against: reference, tolerance: tolerance) }
    }

    /// - Parameter rounding: by gradient, what rounding may do to an entry where its tensor is worse conditioned than `tolerance`
    ///   allows for. It is asked for only there.
    func checkFirstStep(
        against reference: TrainingRecord, tolerance: Double, rounding: (String) throws -> Double = { _ in 0 }
    ) throws {
        try compare("loss", losses.prefix(1), reference.losses.prefix(1), tolerance)
        try compare("auxiliary loss", auxiliaryLosses.prefix(1), reference.auxiliaryLosses.prefix(1), tolerance)
        guard droppedTokens == reference.droppedTokens || losses.count > 1 else {
            throw InvarianceFailure(description: "dropped \(droppedTokens) instead of \(reference.droppedTokens)")
        }
        try compare("gradient norm", gradientNorms.prefix(1), reference.gradientNorms.prefix(1), tolerance)
        guard gradients.keys.sorted() == reference.gradients.keys.sorted() else {
            throw InvarianceFailure(description: "other gradients: \(gradients.keys.sorted())")
        }
        for (name, expected) in reference.gradients.sorted(by: { $0.key < $1.key }) {
            try compare(
                "gradient of \(name)", (gradients[name] ?? [])[...], expected[...], tolerance,
                slack: try rounding(name))
        }
    }

    /// Checks the weights after the first step, but for entries whose gradient is so small that rounding can turn its sign,
    /// and with it the direction of AdamW's first step.
    private func checkUpdatedWeights(against reference: TrainingRecord, tolerance: Double) throws {
        guard weights.keys.sorted() == reference.weights.keys.sorted() else {
            throw InvarianceFailure(description: "other weights: \(weights.keys.sorted())")
        }
        for (name, expected) in reference.weights.sorted(by: { $0.key < $1.key }) {
            // What is not trained has none.
            let gradient = reference.gradients[name] ?? expected.map { _ in 0 }
            let largest = gradient.map { abs($0) }.max() ?? 0
            let steady = gradient.indices.filter { abs(gradient[$0]) > 1e-3 * largest || gradient[$0] == 0 }
            let found = weights[name] ?? []
            guard found.count == expected.count, gradient.count == expected.count else {
                throw InvarianceFailure(description: "\(name): \(found.count) weights instead of \(expected.count)")
            }
            try compare(
                "weights of \(name)", steady.map { found[$0] }[...], steady.map { expected[$0] }[...], tolerance)
        }
    }

    /// Checks that all losses are those of `reference`.
    public func checkLosses(against reference: TrainingRecord, tolerance: Double) throws {
        for (step, (found, expected)) in zip(losses, reference.losses).enumerated() {
            guard abs(found - expected) <= tolerance else {
                throw InvarianceFailure(description: "loss of step \(step): expected \(expected), found \(found)")
            }
        }
        guard losses.count == reference.losses.count else {
            throw InvarianceFailure(description: "\(losses.count) steps instead of \(reference.losses.count)")
        }
    }

    /// What rounding is allowed at most, relative to the largest entry.
    private static let mostRounding = 1e-4

    private func compare<Value: BinaryFloatingPoint>(
        _ what: String, _ found: ArraySlice<Value>, _ expected: ArraySlice<Value>, _ tolerance: Double,
        slack: @autoclosure () throws -> Double = 0
    ) throws {
        guard found.count == expected.count else {
            throw InvarianceFailure(description: "\(what): \(found.count) entries instead of \(expected.count)")
        }
        let largest = expected.map { abs(Double($0)) }.max() ?? 0
        var rounding: Double?
        for (index, (a, b)) in zip(found, expected).enumerated() {
            let difference = abs(Double(a) - Double(b))
            if difference <= tolerance * largest { continue }
            let allowance = try rounding ?? min(slack(), Self.mostRounding * largest)
            rounding = allowance
            guard difference <= allowance else {
                throw InvarianceFailure(
                    description: "\(what), entry \(index): expected \(b), found \(a); the largest is \(largest)")
            }
        }
    }
}

/// A result that depends on where the experts are.
public struct InvarianceFailure: Error, CustomStringConvertible {
    public let description: String
}
