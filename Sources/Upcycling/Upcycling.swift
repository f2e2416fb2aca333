/// How a mixture of experts is made of a dense model, after Sparse Upcycling (Komatsuzaki et al. 2022, arXiv:2212.05055): each expert is
/// a copy of the layer's dense network, the router is drawn, and all else stays as it is.
///
/// Experts may be slices of copies: G of them, neighbours, make up one. The router begins with the same weights for all G, so that a
/// token gets whole copies at first (virtual groups: He et al. 2024, arXiv:2410.07524).
public struct Upcycling: Sendable, Equatable {
    /// E of each layer, a multiple of G.
    public var experts: Int
    /// K, a multiple of G.
    public var expertsPerToken: Int
    /// F of each expert: the dense network's, divided by G. Nil: as wide as the dense network.
    public var expertWidth: Int?
    /// Standard deviation of what is added to the experts' weights, in root mean squares of the dense matrix.
    public var noise: Double
    /// Decides on routers and noise.
    public var seed: UInt64

    public init(experts: Int, expertsPerToken: Int, expertWidth: Int? = nil, noise: Double = 0, seed: UInt64 = 0) {
        self.experts = experts
        self.expertsPerToken = expertsPerToken
        self.expertWidth = expertWidth
        self.noise = noise
        self.seed = seed
    }

    /// Noise as large as this leaves nothing of the dense weights.
    public static let noiseRange = 0.0...10

    /// Checks what can be told without the dense model.
    public func validate() throws(UpcyclingError) {
        guard experts >= 1, expertsPerToken >= 1 else { throw .noExperts }
        guard expertsPerToken <= experts else {
            throw .moreExpertsPerTokenThanExperts(expertsPerToken: expertsPerToken, experts: experts)
        }
        guard Self.noiseRange.contains(noise) else { throw .noise(noise) }
    }

    /// G, for dense networks of so many neurons.
    /// - Throws: `UpcyclingError` when there are no such experts.
    func slices(denseWidth: Int) throws(UpcyclingError) -> Int {
        try validate()
        guard let expertWidth else { return 1 }
        guard expertWidth >= 1, denseWidth % expertWidth == 0 else {
            throw .widthDoesNotDivide(expertWidth, denseWidth: denseWidth)
        }
        let slices = denseWidth / expertWidth
        guard experts % slices == 0, expertsPerToken % slices == 0 else {
            throw .incompleteCopies(expertsPerToken: expertsPerToken, experts: experts, slices: slices)
        }
        return slices
    }
}

/// Why no mixture can be made as asked.
public enum UpcyclingError: Error, Equatable, CustomStringConvertible {
    case noExperts
    case moreExpertsPerTokenThanExperts(expertsPerToken: Int, experts: Int)
    case noise(Double)
    case widthDoesNotDivide(Int, denseWidth: Int)
    case incompleteCopies(expertsPerToken: Int, experts: Int, slices: Int)
    /// The dense model's tensor has an entry that is infinite or no number.
    case notFinite(tensor: String, file: String)
    /// An entry of the mixture's tensor is beyond what its type can hold.
    case overflow(tensor: String, type: String)

    public var description: String {
        switch self {
        case .noExperts: "there must be at least 1 expert, and 1 for each token"
        case .moreExpertsPerTokenThanExperts(let expertsPerToken, let experts):
            "a token cannot go to \(expertsPerToken) of \(experts) experts; choose at most \(experts) experts a token"
        case .noise(let noise):
            "the noise is \(noise); it must be from \(Upcycling.noiseRange.lowerBound) to \(Upcycling.noiseRange.upperBound)"
        case .widthDoesNotDivide(let width, let denseWidth):
            "experts of \(width) neurons cannot be cut from a dense network of \(denseWidth); choose a width that divides \(denseWidth)"
        case .incompleteCopies(let expertsPerToken, let experts, let slices):
            "\(slices) experts of that width make up a copy of the dense network, so their number, which is \(experts), and that of a "
                + "token, which is \(expertsPerToken), must be multiples of \(slices)"
        case .notFinite(let tensor, let file):
            "\(file): tensor \"\(tensor)\" has an entry that is not finite; fetch or save the dense model again"
        case .overflow(let tensor, let type):
            "an entry of \(tensor) is too large for \(type), the type of the dense model's tensor; convert the dense model to "
                + "BF16 or F32, or use wider experts or less noise"
        }
    }
}
