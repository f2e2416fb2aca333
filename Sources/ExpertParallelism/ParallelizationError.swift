/// What can be wrong with a request to spread experts over ranks.
public enum ParallelizationError: Error, Equatable, CustomStringConvertible {
    case invalidPattern(String, reason: String)
    /// `groups`: paths of the groups of experts that the model has.
    case noMatch(patterns: [String], groups: [String])
    case notExperts(path: String, type: String, groups: [String])
    case layerCount(expected: Int, found: [String])
    case expertCounts([Int], found: [String])
    case expertCount(path: String, expected: Int, found: Int)
    case hiddenSize(path: String, expected: Int, found: Int)
    case heads(path: String, ranks: Int, heads: Int)
    case otherContext(path: String)
    case placedOtherwise(path: String)
    case noPlan
    case unknownDispatcher(String)

    public var description: String {
        switch self {
        case .invalidPattern(let pattern, let reason):
            "\"\(pattern)\" is not a regular expression over module paths: \(reason)"
        case .noMatch(let patterns, let groups):
            "no module path matches \(Self.list(patterns.map { "\"\($0)\"" }, "or")); groups of experts were found at: "
                + Self.list(groups)
        case .notExperts(let path, let type, let groups):
            "\(path) is a \(type), not a group of experts; let the pattern match the modules that hold the experts: "
                + Self.list(groups)
        case .layerCount(let expected, let found):
            "the configuration has \(expected) layers of experts, the pattern matches \(found.count): "
                + Self.list(found)
        case .expertCounts(let counts, let found):
            "the configuration has numbers of experts for \(counts.count) layers, the pattern matches \(found.count): "
                + Self.list(found)
        case .expertCount(let path, let expected, let found):
            "the configuration has \(expected) experts for \(path), the model has \(found)"
        case .hiddenSize(let path, let expected, let found):
            "the experts of \(path) have the hidden size \(found), those of the first layer \(expected)"
        case .heads(let path, let ranks, let heads):
            "\(path) has \(heads) heads, too few for the \(ranks) ranks of a tensor-parallel group; use at most \(heads)"
        case .otherContext(let path):
            "\(path) is parallelised already, in another context; parallelise the rest of the model in the same one"
        case .placedOtherwise(let path):
            "\(path) is parallelised already, and the plan that was given places it otherwise"
        case .noPlan:
            "the allocator gave no plan, and there is none in force"
        case .unknownDispatcher(let name):
            "unknown dispatcher \"\(name)\"; known are \(Self.list(TokenDispatchers.names))"
        }
    }

    private static func list(_ items: [String], _ conjunction: String? = nil) -> String {
        items.isEmpty ? "none" : items.joined(separator: conjunction.map { " \($0) " } ?? ", ")
    }
}
