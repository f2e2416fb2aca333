/// Asks for a part of what has been going on in a run.
public struct ListPage<Reply: ControlMessage>: ControlRequest {
    public static var type: String { "list_" + Reply.type }

    /// Nil: the run registered last that is not archived.
    public var run: String?
    /// What came after the one of this number; nil: the newest.
    public var after: Int?
    /// How many at most; nil: as many as the coordinator lists.
    public var limit: Int?

    public init(run: String? = nil, after: Int? = nil, limit: Int? = nil) {
        self.run = run
        self.after = after
        self.limit = limit
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        if let run { try check.runName(run) }
        if let after { try check.count(after, "after") }
        if let limit { try check.integer(limit, "limit", in: 1...limits.integer) }
    }
}
