/// Which experts each token goes to: a list of (token, expert, weight) rows, any number a token.
///
/// Arrays of N entries, row by row; rows of one token are neighbours, tokens ascend.
public struct Routing: Equatable, Sendable {
    /// T, the tokens that were routed.
    public let tokenCount: Int
    /// E, the experts that could be chosen.
    public let expertCount: Int
    /// Token of each row, 0 ..< T.
    public let tokens: [Int32]
    /// Expert of each row, 0 ..< E.
    public let experts: [Int32]
    /// Factor of the expert's output in the token's sum.
    public let weights: [Float]
    /// How many rows, zeros among them, a rank with experts computes of each at least; 0: those that there are. Results are the same.
    public var paddedRows = 0

    public init(tokenCount: Int, expertCount: Int, tokens: [Int32], experts: [Int32], weights: [Float]) {
        precondition(tokens.count == experts.count && tokens.count == weights.count, "rows differ in length")
        self.tokenCount = tokenCount
        self.expertCount = expertCount
        self.tokens = tokens
        self.experts = experts
        self.weights = weights
    }

    /// N, the number of rows.
    public var count: Int { tokens.count }

    /// Rows of each expert, E entries.
    public var expertLoads: [Int] {
        var loads = [Int](repeating: 0, count: expertCount)
        for expert in experts { loads[Int(expert)] += 1 }
        return loads
    }

    /// The rows that are kept.
    func filtered(by kept: [Bool]) -> Routing {
        func part<Element>(_ all: [Element]) -> [Element] { zip(all, kept).filter(\.1).map(\.0) }
        return Routing(
            tokenCount: tokenCount, expertCount: expertCount, tokens: part(tokens), experts: part(experts),
            weights: part(weights))
    }
}
