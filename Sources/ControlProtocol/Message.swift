/// What stands in a frame: a JSON object with `type`, `version`, `request_id` and the fields of the type.
public protocol ControlMessage: Codable, Hashable, Sendable {
    /// The value of `type`.
    static var type: String { get }
}

/// A message from a client, which the coordinator answers with `Reply` or with an `error`.
public protocol ControlRequest: ControlMessage {
    associatedtype Reply: ControlMessage

    /// - Throws: `bad_request` or `limit_exceeded` with the field's name.
    func validate(within limits: Limits) throws(ControlError)
}

/// The version of the protocol that this code speaks.
public enum ControlProtocolVersion {
    public static let current = 1
}
