import Tensors

/// A router and its experts, in the place of a dense feed-forward network; and maybe an expert that all tokens share.
public final class SparseMoEBlock: Module {
    private let gate: Router
    private var experts: any ExpertGroup
    private let shared: SharedExpert?
    private let timer: PhaseTimer

    /// - Parameter timer: takes the seconds of `Phase.router`, and of the shared expert as those of `Phase.attention`.
    public init(
        gate: Router, experts: any ExpertGroup, shared: SharedExpert? = nil, timer: PhaseTimer = PhaseTimer()
    ) {
        precondition(gate.expertCount == experts.expertCount, "the router is for other experts")
        self.gate = gate
        self.experts = experts
        self.shared = shared
        self.timer = timer
    }

    public var children: [(name: String, module: any Module)] {
        let children: [(name: String, module: any Module)] = [("gate", gate), ("experts", experts)]
        return children + (shared?.children ?? [])
    }

    /// Of the last forward pass that saved for backward.
    public var statistics: Router.Statistics? { gate.statistics }

    /// "experts" can be replaced, by an `ExpertGroup` of the same number of experts and the same D, and a shared expert by a `FeedForward`.
    public func replaceChild(_ name: String, with module: any Module) throws {
        if let shared, shared.replaceChild(name, with: module) { return }
        guard name == "experts", let group = module as? any ExpertGroup, group.expertCount == experts.expertCount,
            group.hiddenSize == experts.hiddenSize
        else {
            throw ModuleError.cannotReplace(child: name, in: "\(Self.self)", with: "\(type(of: module))")
        }
        experts = group
    }

    /// - Parameters:
    ///   - x: (T, D); kept by reference until `backward`, so it must not change. With T = 0 the experts are asked
    ///     as well, because they may have other ranks' tokens to compute.
    ///   - sequenceLength: L; nil: the tokens are one sequence.
    ///   - tokens: of all sequences, on other ranks as well, a multiple of L; nil: T.
    ///   - recomputing: whether a second pass of the same x comes before `backward`: of this one nothing but `statistics` is
    ///     kept.
    /// - Returns: y, (T, D)
    public func forward(
        _ x: Tensor, sequenceLength: Int? = nil, tokens: Int? = nil, savingForBackward: Bool, recomputing: Bool = false
    ) throws -> Tensor {
        let routing = try timer.measure(.router) {
            try gate.forward(
                x, sequenceLength: sequenceLength, tokens: tokens, among: experts.tokenGroup,
                savingForBackward: savingForBackward)
        }
        if recomputing { gate.discardSaved() }
        let saves = savingForBackward && !recomputing
        let y = try experts.forward(x, routing: routing, savingForBackward: saves)
        if let shared {
            try timer.measure(.attention) {
                try shared.forward(x, tokens: tokens ?? x.rows, addingTo: y, savingForBackward: saves)
            }
        }
        return y
    }

    /// Adds to the weights' gradients.
    /// - Parameters:
    ///   - outputGradient: dL/dy, (T, D)
    ///   - probabilityGradient: dL/dp of each expert's probability, the same for all tokens, E entries; nil: none.
    ///   - scales: of the router's own losses.
    /// - Returns: dL/dx, (T, D)
    public func backward(
        _ outputGradient: Tensor, probabilityGradient: [Float]?, scales: RouterLossScales = RouterLossScales()
    ) throws -> Tensor {
        let (inputGradient, weightGradient) = try experts.backward(outputGradient)
        if let shared { try timer.measure(.attention) { try shared.backward(outputGradient, addingTo: inputGradient) } }
        timer.measure(.router) {
            gate.backward(
                weightGradient: weightGradient, probabilityGradient: probabilityGradient, scales: scales,
                addingTo: inputGradient)
        }
        return inputGradient
    }
}
