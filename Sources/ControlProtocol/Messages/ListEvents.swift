/// Asks for what happened to a run and its plans.
public struct ListEvents: ControlRequest {
    public static let type = "list_events"
    public typealias Reply = Events

    /// Nil: the run registered last that is not archived.
    public var run: String?
    /// Those after the one of this number; nil: the newest.
    public var after: Int?
    /// How many at most; nil: as many as the coordinator lists.
    public var limit: Int?

    public init(run: String? = nil, after: Int? = nil, limit: Int? = nil) {
        self.run = run
        self.after = after
        self.limit = limit
    }

    public func validate(within limits: Limits) throws(ControlError) {
        try Validation(limits: limits).page(run, after: after, limit: limit)
    }
}

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
