import Foundation

/// The fields that every message has, in one JSON object with the fields of the message.
struct Envelope<Body: ControlMessage>: Encodable {
    let requestID: Int?
    let body: Body

    func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: EnvelopeKeys.self)
        try values.encode(Body.type, forKey: .type)
        try values.encode(ControlProtocolVersion.current, forKey: .version)
        try values.encodeIfPresent(requestID, forKey: .requestID)
        try body.encode(to: encoder)
    }
}

enum EnvelopeKeys: String, CodingKey {
    case type, version
    case requestID = "request_id"
}

/// Messages to frames and back.
public enum MessageCodec {
    /// A whole frame with `message` in it.
    /// - Parameter requestID: chosen by the client, repeated by the coordinator; nil only in an `error` about a message whose id
    ///   could not be read.
    /// - Throws: `bad_request` when a number is not finite, `limit_exceeded` when the frame would be too long.
    public static func frame(
        _ message: some ControlMessage, requestID: Int?, limits: Limits = .standard
    ) throws(ControlError) -> Data {
        try Frame.encode(payload(message, requestID: requestID), limits: limits)
    }

    /// What stands in a frame.
    package static func payload(_ message: some ControlMessage, requestID: Int?) throws(ControlError) -> Data {
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            return try encoder.encode(Envelope(requestID: requestID, body: message))
        } catch {
            throw ControlError(
                .badRequest, "a \(type(of: message).type) message cannot be written: \(ControlError.brief(error))")
        }
    }
}

extension ControlError {
    /// One line on what a decoder or encoder found, without Swift's type names.
    package static func brief(_ error: any Error) -> String {
        func place(_ context: DecodingError.Context) -> String {
            let path = context.codingPath.map { key in key.intValue.map { "[\($0)]" } ?? "." + key.stringValue }
                .joined()
            return path.isEmpty ? "the message" : String(path.drop { $0 == "." })
        }
        switch error {
        case DecodingError.keyNotFound(let key, let context):
            let place = place(context)
            return place == "the message" ? "\(key.stringValue) is missing" : "\(place).\(key.stringValue) is missing"
        case DecodingError.typeMismatch(_, let context): return "\(place(context)) is of a wrong type"
        case DecodingError.valueNotFound(_, let context): return "\(place(context)) is null"
        case DecodingError.dataCorrupted(let context):
            return context.codingPath.isEmpty
                ? "it is no JSON that can be read" : "\(place(context)): \(context.debugDescription)"
        case EncodingError.invalidValue(let value, _): return "the value \(value) has no form in JSON"
        default: return "\(error)"
        }
    }
}
