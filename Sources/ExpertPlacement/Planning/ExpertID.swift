/// One expert of the model.
public struct ExpertID: Hashable, Sendable, Codable {
    /// Index among the layers with experts, from 0.
    public var layer: Int
    /// Index in the layer, from 0.
    public var expert: Int

    public init(layer: Int, expert: Int) {
        self.layer = layer
        self.expert = expert
    }
}

extension ExpertID: Comparable, CustomStringConvertible {
    public static func < (a: ExpertID, b: ExpertID) -> Bool { (a.layer, a.expert) < (b.layer, b.expert) }

    public var description: String { "layer \(layer), expert \(expert)" }
}
