import ExpertPlacement

/// A line of a trace.
public enum TraceLine: Hashable, Sendable {
    case header(TraceHeader)
    case interval(TraceInterval)
    case plan(TracePlan)
}

extension TraceLine: Codable {
    /// The version of the format that the code writes and reads.
    public static let version = 1

    private enum CodingKeys: String, CodingKey { case type, version }

    private enum Kind: String, Codable {
        case trace, interval, plan
    }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        let type = try values.decode(String.self, forKey: .type)
        switch Kind(rawValue: type) {
        case .trace:
            let version = try values.decode(Int.self, forKey: .version)
            guard version == Self.version else {
                throw DecodingError.dataCorruptedError(
                    forKey: .version, in: values,
                    debugDescription: "it is \(version), and this program reads version \(Self.version)")
            }
            self = .header(try TraceHeader(from: decoder))
        case .interval: self = .interval(try TraceInterval(from: decoder))
        case .plan: self = .plan(try TracePlan(from: decoder))
        case nil:
            throw DecodingError.dataCorruptedError(
                forKey: .type, in: values, debugDescription: "\"\(type.prefix(40))\" is no type of a trace's line")
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        switch self {
        case .header(let header):
            try values.encode(Kind.trace, forKey: .type)
            try values.encode(Self.version, forKey: .version)
            try header.encode(to: encoder)
        case .interval(let interval):
            try values.encode(Kind.interval, forKey: .type)
            try interval.encode(to: encoder)
        case .plan(let plan):
            try values.encode(Kind.plan, forKey: .type)
            try plan.encode(to: encoder)
        }
    }
}
