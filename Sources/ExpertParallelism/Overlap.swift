/// What travels while the rank computes. Results are the same, bit by bit.
public struct Overlap: OptionSet, Hashable, Sendable {
    public let rawValue: Int

    public init(rawValue: Int) {
        self.rawValue = rawValue
    }

    /// Rows of some experts, there and back, while others compute.
    public static let dispatch = Overlap(rawValue: 1)
    /// Gradients to their owners, while backward goes on to the layers below.
    public static let gradients = Overlap(rawValue: 2)
    /// Weights from their owners, until forward comes to their layer.
    public static let refresh = Overlap(rawValue: 4)

    public static let all: Overlap = [.dispatch, .gradients, .refresh]

    /// What can be named, in this order.
    public static let names: [(name: String, value: Overlap)] = [
        ("dispatch", .dispatch), ("gradients", .gradients), ("refresh", .refresh),
    ]

    /// - Parameter text: `all`, `none`, or names with commas between them; nil: another one.
    public init?(_ text: String) {
        switch text {
        case "all": self = .all
        case "none": self = []
        default:
            self = []
            for part in text.split(separator: ",", omittingEmptySubsequences: false) {
                guard let named = Self.names.first(where: { $0.name == part }) else { return nil }
                insert(named.value)
            }
        }
    }

    /// As `init(_:)` reads it.
    public var text: String {
        if self == .all { return "all" }
        let parts = Self.names.filter { contains($0.value) }.map(\.name)
        return parts.isEmpty ? "none" : parts.joined(separator: ",")
    }
}
