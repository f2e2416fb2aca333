import ControlProtocol
import Foundation

/// What may stand behind the question mark.
package struct APIParameter: Sendable {
    package enum Kind: Sendable {
        case integer(minimum: Int)
        case flag
    }

    package let name: String
    package let kind: Kind
    package let description: String

    static let after = APIParameter(
        name: "after", kind: .integer(minimum: 0),
        description: "Those after the one of this number; absent: the newest.")
    static let limit = APIParameter(
        name: "limit", kind: .integer(minimum: 1),
        description: "How many at most; absent: as many as the coordinator lists.")
}

/// What a question asks for.
struct APIArguments: Sendable {
    /// From the path; nil when it has no place for one.
    let run: String?
    private let values: [String: String]

    /// - Parameters:
    ///   - run: as it stands in the path; nothing when it has no place for one.
    ///   - query: as it came.
    /// - Throws: `bad_request`.
    init(run: String, query: String, _ parameters: [APIParameter]) throws(ControlError) {
        guard let name = run.removingPercentEncoding else {
            throw ControlError(.badRequest, "the name of the run in the path is not percent-encoded UTF-8")
        }
        self.run = run.isEmpty ? nil : name
        var values = [String: String]()
        for item in query.split(separator: "&") {
            let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = String(parts[0])
            guard parameters.contains(where: { $0.name == name }) else {
                let known = parameters.isEmpty ? "none" : parameters.map(\.name).joined(separator: ", ")
                throw ControlError(
                    .badRequest,
                    "there is no parameter \(EventText.line(name.prefix(64).debugDescription)) here, but \(known)")
            }
            guard values.updateValue(parts.count > 1 ? String(parts[1]) : "", forKey: name) == nil else {
                throw ControlError(.badRequest, "\(name) is given twice")
            }
        }
        self.values = values
    }

    func integer(_ name: String) throws(ControlError) -> Int? {
        guard let text = values[name] else { return nil }
        guard 1...18 ~= text.utf8.count, text.utf8.allSatisfy({ 0x30...0x39 ~= $0 }), let value = Int(text) else {
            throw ControlError(.badRequest, "\(name) is no number of digits alone, or too long")
        }
        return value
    }

    func flag(_ name: String) throws(ControlError) -> Bool? {
        switch values[name] {
        case nil: return nil
        case "true": return true
        case "false": return false
        default: throw ControlError(.badRequest, "\(name) is neither true nor false")
        }
    }
}
