/// Asks for what happened to a run and its plans.
public typealias ListEvents = ListPage<Events>

public struct Events: ControlMessage {
    public static let type = "events"

    public var run: String
    /// Ascending by number.
    public var events: [NumberedEvent]
    /// There are more after these.
    public var truncated: Bool

    public init(run: String, events: [NumberedEvent], truncated: Bool) {
        self.run = run
        self.events = events
        self.truncated = truncated
    }
}

/// An event among those of all runs.
public struct NumberedEvent: Codable, Hashable, Sendable {
    public var number: Int
    /// Its fields stand beside the number.
    public var event: RunEvent

    public init(number: Int, event: RunEvent) {
        self.number = number
        self.event = event
    }

    private enum CodingKeys: CodingKey {
        case number
    }

    public init(from decoder: any Decoder) throws {
        number = try decoder.container(keyedBy: CodingKeys.self).decode(Int.self, forKey: .number)
        event = try RunEvent(from: decoder)
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(number, forKey: .number)
        try event.encode(to: encoder)
    }
}
