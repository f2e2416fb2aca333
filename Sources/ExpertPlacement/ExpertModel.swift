/// What an allocator has to know of a model.
public struct ExpertModel: Hashable, Sendable, Codable {
    /// D, the size of a token's hidden state.
    public let hiddenSize: Int
    /// F of each expert, [layer][expert].
    public let layers: [[Int]]

    public init(hiddenSize: Int, layers: [[Int]]) {
        self.hiddenSize = hiddenSize
        self.layers = layers
    }

    private enum CodingKeys: String, CodingKey {
        case hiddenSize = "hidden_size"
        case layers
    }
}
