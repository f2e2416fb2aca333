/// What can go wrong between a client and the coordinator. The coordinator sends `code` and `message` in an `error` answer.
public struct ControlError: Error, Hashable, Sendable {
    /// Stable, for programs. New ones may come; a client treats an unknown code as a refusal.
    public struct Code: RawRepresentable, Hashable, Sendable, Codable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }

        // From the coordinator
        /// The frame is no JSON object, or a field is missing, of a wrong type or out of range.
        public static let badRequest = Code(rawValue: "bad_request")
        public static let unknownType = Code(rawValue: "unknown_type")
        public static let unsupportedVersion = Code(rawValue: "unsupported_version")
        public static let limitExceeded = Code(rawValue: "limit_exceeded")
        public static let unknownRun = Code(rawValue: "unknown_run")
        public static let unknownRevision = Code(rawValue: "unknown_revision")
        public static let unknownLayer = Code(rawValue: "unknown_layer")
        /// Nothing is stored of these steps.
        public static let unknownStep = Code(rawValue: "unknown_step")
        public static let unknownAllocator = Code(rawValue: "unknown_allocator")
        /// No plan can be made, or the plan that came with the request does not fit model or world.
        public static let unsuitablePlan = Code(rawValue: "unsuitable_plan")
        /// Another plan of the run is in flight.
        public static let conflict = Code(rawValue: "conflict")
        /// Operators have frozen the planning of the run.
        public static let planningFrozen = Code(rawValue: "planning_frozen")
        /// A plan cannot go from its state to the one that it is said to be in.
        public static let invalidTransition = Code(rawValue: "invalid_transition")
        /// The coordinator does not do this for this run.
        public static let unsupported = Code(rawValue: "unsupported")
        public static let unknownWorker = Code(rawValue: "unknown_worker")
        /// The run was registered again since: the sender's incarnation is over.
        public static let staleIncarnation = Code(rawValue: "stale_incarnation")
        /// The incarnation was never given out.
        public static let unknownIncarnation = Code(rawValue: "unknown_incarnation")
        /// A report too old to know whether it was applied.
        public static let staleSequence = Code(rawValue: "stale_sequence")
        /// Try again later.
        public static let overloaded = Code(rawValue: "overloaded")
        /// The database takes no changes (full, away), or does not give the run. Nothing was changed (but a deletion may have taken
        /// part of its run); try again later.
        public static let storageUnavailable = Code(rawValue: "storage_unavailable")
        /// The client has none of the coordinator's keys, or did not use it.
        public static let unauthenticated = Code(rawValue: "unauthenticated")
        /// The key of the connection is good for other requests only.
        public static let forbidden = Code(rawValue: "forbidden")
        /// A record of an encrypted connection does not open. The connection is over, and another may do.
        public static let tampered = Code(rawValue: "tampered")

        // From the client itself
        public static let unresolvedHost = Code(rawValue: "unresolved_host")
        public static let connectionFailed = Code(rawValue: "connection_failed")
        public static let connectionClosed = Code(rawValue: "connection_closed")
        public static let timedOut = Code(rawValue: "timed_out")
        public static let cancelled = Code(rawValue: "cancelled")
        /// The other side sent something that the protocol does not have.
        public static let protocolViolation = Code(rawValue: "protocol_violation")
        /// A key file is not there, is no key, or may be read by others.
        public static let unusableKeyFile = Code(rawValue: "unusable_key_file")
    }

    public let code: Code
    /// One line for people: what is wrong and what to do.
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// No coordinator answered: it, or the way to it, is away. Programs end with 69 then.
    public var isUnreachable: Bool {
        [.unresolvedHost, .connectionFailed, .connectionClosed, .timedOut].contains(code)
    }

    /// The coordinator does not take the key for this request, whatever is in it.
    public var isAboutKey: Bool {
        [.unauthenticated, .forbidden].contains(code)
    }

    /// The coordinator is there, and has no room for the request now.
    public var isAboutRoom: Bool {
        [.overloaded, .storageUnavailable].contains(code)
    }

    /// The same request may succeed later.
    public var isTransient: Bool {
        isUnreachable || isAboutRoom || code == .tampered
    }
}

extension ControlError: CustomStringConvertible {
    public var description: String { message }
}
