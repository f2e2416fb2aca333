import CoordinatorCore
import TestSupport

/// Messages under way: they come in any order, twice or not at all, and old ones come again at any time.
struct SimulatedNetwork {
    struct Request {
        let client: Int
        let number: Int
        let body: ChangeRequest
    }

    struct Reply {
        let request: Request
        let answer: Answer
    }

    var isFaulty = true
    private var requests = [Request]()
    private var replies = [Reply]()
    private var sent = [Request]()

    var isEmpty: Bool { requests.isEmpty && replies.isEmpty }

    mutating func send(_ request: Request, using random: inout SeededGenerator) {
        sent.append(request)
        for _ in 0..<copies(using: &random) { requests.append(request) }
    }

    mutating func send(_ reply: Reply, using random: inout SeededGenerator) {
        for _ in 0..<copies(using: &random) { replies.append(reply) }
    }

    private func copies(using random: inout SeededGenerator) -> Int {
        guard isFaulty else { return 1 }
        return switch Int.random(in: 0..<10, using: &random) {
        case 0: 0
        case 1: 2
        default: 1
        }
    }

    mutating func nextRequest(using random: inout SeededGenerator) -> Request? {
        Self.take(&requests, using: &random)
    }

    mutating func nextReply(using random: inout SeededGenerator) -> Reply? {
        Self.take(&replies, using: &random)
    }

    /// One that was sent before, whatever became of it.
    mutating func replay(using random: inout SeededGenerator) {
        if let request = sent.randomElement(using: &random) { requests.append(request) }
    }

    private static func take<Message>(_ messages: inout [Message], using random: inout SeededGenerator) -> Message? {
        guard !messages.isEmpty else { return nil }
        let index = Int.random(in: 0..<messages.count, using: &random)
        messages.swapAt(index, messages.count - 1)
        return messages.removeLast()
    }
}
