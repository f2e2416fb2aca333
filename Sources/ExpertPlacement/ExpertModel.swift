/// What an allocator has to know of a model.
public struct ExpertModel: Hashable, Sendable, Codable {
    /// D, the size of a token's hidden state.
    public let hiddenSize: Int
    /// F of each expert, [layer][expert].
    public let layers: [[Int]]

    /// The largest `size`. On `PlacementPlan.worldSizeLimit` ranks the most that one plan after another can move, all
    /// experts to all ranks with their moments, is below 2^63 bytes then.
    public static let sizeLimit = 1 << 44

    public init(hiddenSize: Int, layers: [[Int]]) {
        self.hiddenSize = hiddenSize
        self.layers = layers
    }

    /// D times the neurons of all experts, or the largest number when that is less.
    public var size: Int {
        let neurons = layers.joined().reduce(0) { $0.saturatingSum($1) }
        let (size, overflow) = neurons.multipliedReportingOverflow(by: hiddenSize)
        return overflow ? .max : size
    }

    /// - Throws: `PlacementError.unsuitableAllocator` when bytes of plans could not be counted.
    public func checkSize() throws(PlacementError) {
        guard size <= Self.sizeLimit else {
            throw .unsuitableAllocator(
                "the neurons of all experts times the hidden size are \(size), over the limit of \(Self.sizeLimit)")
        }
    }

    private enum CodingKeys: String, CodingKey {
        case hiddenSize = "hidden_size"
        case layers
    }
}
