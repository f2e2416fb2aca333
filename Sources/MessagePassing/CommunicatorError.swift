/// What can go wrong when ranks exchange messages.
public enum CommunicatorError: Error, Equatable, Sendable, CustomStringConvertible {
    /// This rank passed something that the call cannot take; nothing was exchanged.
    case invalidArgument(call: String, reason: String)
    /// Ranks of one group passed arguments that do not belong together, or made different calls.
    case mismatch(call: String, reason: String)
    /// Another rank of the group failed, so this one cannot go on.
    case rankFailed(rank: Int, reason: String)
    /// Another rank of the group ended while this one waited for it.
    case rankLeft(rank: Int, call: String)
    /// The message-passing library refused or failed.
    case library(call: String, code: Int, reason: String)

    public var description: String {
        switch self {
        case .invalidArgument(let call, let reason): "\(call): \(reason)"
        case .mismatch(let call, let reason): "\(call): the ranks do not agree: \(reason)"
        case .rankFailed(let rank, let reason): "rank \(rank) failed: \(reason)"
        case .rankLeft(let rank, let call): "\(call): rank \(rank) has ended and will not take part"
        case .library(let call, let code, let reason): "\(call) failed with code \(code): \(reason)"
        }
    }
}
