/// What can be wrong with a request to spread experts over ranks.
public enum ParallelizationError: Error, Equatable, CustomStringConvertible {
    case invalidPattern(String, reason: String)
    case noMatch(patterns: [String], modules: [String])
    case notExperts(path: String, type: String)
    case layerCount(expected: Int, found: [String])
    case expertCount(path: String, expected: Int, found: Int)
    case hiddenSize(path: String, expected: Int, found: Int)
    case noPlan
    case unknownDispatcher(String)

    public var description: String {
        switch self {
        case .invalidPattern(let pattern, let reason):
            "\"\(pattern)\" is not a regular expression over module paths: \(reason)"
        case .noMatch(let patterns, let modules):
            "no module path matches \(patterns.map { "\"\($0)\"" }.joined(separator: " or ")); groups of experts were found at: "
                + (modules.isEmpty ? "none" : modules.joined(separator: ", "))
        case .notExperts(let path, let type):
            "\(path) is a \(type), not a group of experts; let the pattern match the modules that hold the experts"
        case .layerCount(let expected, let found):
            "the configuration has \(expected) layers of experts, the pattern matches \(found.count): "
                + found.joined(separator: ", ")
        case .expertCount(let path, let expected, let found):
            "the configuration has \(expected) experts for \(path), the model has \(found)"
        case .hiddenSize(let path, let expected, let found):
            "the experts of \(path) have the hidden size \(found), those of the first layer \(expected)"
        case .noPlan:
            "the allocator gave no plan, and there is none in force"
        case .unknownDispatcher(let name):
            "unknown dispatcher \"\(name)\"; known are \(TokenDispatchers.names.joined(separator: ", "))"
        }
    }
}
